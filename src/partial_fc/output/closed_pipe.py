"""Output whose reader has ended, as after `| head`."""

import contextlib
import functools
import os
import sys
from typing import IO, Any, Callable

from ..errors import CLOSED_PIPE


def quiet_pipe(main: Callable[..., int]) -> Callable[..., int]:
    """Decorator of a command's main function: the command ends silently, with CLOSED_PIPE, if its reader has ended."""

    @functools.wraps(main)
    def quiet(*args: Any) -> int:
        try:
            try:
                return main(*args)
            finally:
                sys.stdout.flush()  # otherwise Python does it at its end, and reports a closed pipe
        except BrokenPipeError:
            _discard(sys.stdout)
            return CLOSED_PIPE

    return quiet


def _discard(stream: IO[str]) -> None:
    """Discard all that is written to a stream from now on, and what it has buffered."""
    with open(os.devnull, "w") as nowhere, contextlib.suppress(OSError):  # it may have no file
        os.dup2(nowhere.fileno(), stream.fileno())
