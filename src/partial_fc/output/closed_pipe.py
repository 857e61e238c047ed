"""Output that cannot be written, as after `| head`, whose reader has ended."""

import contextlib
import functools
import os
import sys
from typing import IO, Any, Callable

from ..errors import CLOSED_PIPE, exit_status
from .printable import print_message


def quiet_pipe(main: Callable[..., int]) -> Callable[..., int]:
    """Decorator of a command's main function: the command ends silently, with CLOSED_PIPE, if its reader has ended.

    Another error of its output, such as a full disk, is printed in one line.
    """

    @functools.wraps(main)
    def quiet(*args: Any) -> int:
        try:
            try:
                return main(*args)
            finally:
                if sys.stdout:  # None if the command was started with its output closed
                    sys.stdout.flush()  # otherwise Python does it at its end, and reports a closed pipe
        except BrokenPipeError:
            _discard(sys.stdout)
            return CLOSED_PIPE
        except OSError as error:  # in a file on a full disk; a command reports those of its own files itself
            _discard(sys.stdout)
            print_message(f"error: {error}")
            return exit_status(error)

    return quiet


def _discard(stream: IO[str]) -> None:
    """Discard all that is written to a stream from now on, and what it has buffered."""
    with open(os.devnull, "w") as nowhere, contextlib.suppress(OSError):  # it may have no file
        os.dup2(nowhere.fileno(), stream.fileno())
