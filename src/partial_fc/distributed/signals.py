"""Signals of schedulers, which ask a run to save, or to save and end, before its time is over."""

import signal
from types import FrameType
from typing import Any, Dict, Optional

SAVE, STOP = 1, 2  # bits of a request
_MEANING = {signal.SIGUSR1: SAVE, signal.SIGTERM: SAVE | STOP}


class Stopped(Exception):
    """The run was asked to end, and has saved a checkpoint."""


class Signals:
    """Remembers SIGUSR1 (save) and SIGTERM (save and end) while the `with` block runs; use it in the main thread.

    A scheduler may signal any rank at any time. The ranks exchange their requests together with their labels, see
    `FaceModule.fit`, so that all of them save after the same update.
    """

    def __init__(self) -> None:
        self._asked = 0
        self._before: Dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Signals":
        self._before = {number: signal.signal(number, self._remember) for number in _MEANING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _: Optional[FrameType]) -> None:
        self._asked |= _MEANING[signal.Signals(number)]

    def take(self) -> int:
        """The requests since the last call: SAVE, SAVE | STOP, or 0."""
        asked, self._asked = self._asked, 0
        return asked
