"""Signals of schedulers, which ask a run to save, or to save and end, before its time is over."""

import signal

SAVE, STOP = 1, 2
_MEANING = {signal.SIGUSR1: SAVE, signal.SIGTERM: SAVE | STOP}


class Stopped(Exception):
    """The run was asked to end, and has saved what it needs to go on."""


class Signals:
    """Remembers SIGUSR1 (save) and SIGTERM (save and end) while the `with` block runs; use it in the main thread.

    Which ranks get a signal, and between which updates, is the scheduler's affair: ranks tell each other with their
    labels, see `FaceModule.fit`, and so all of them save after the same update.
    """

    def __init__(self):
        self._asked, self._before = 0, {}

    def __enter__(self):
        self._before = {number: signal.signal(number, self._remember) for number in _MEANING}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number, _):
        self._asked |= _MEANING[number]

    def take(self):
        """SAVE, SAVE | STOP, or 0: what was asked for since the last call."""
        asked, self._asked = self._asked, 0
        return asked
