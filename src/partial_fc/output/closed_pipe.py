"""Output that nobody reads any more, as after `| head`."""

import contextlib
import functools
import os
import sys

from ..errors import CLOSED_PIPE


def quiet_pipe(main):
    """Decorator of a command's main function: it ends without a word where nobody reads its output, as after `| head`.

    The status is then 141, as shells have it for a program that SIGPIPE ends.
    """

    @functools.wraps(main)
    def quiet(*args):
        try:
            try:
                return main(*args)
            finally:
                sys.stdout.flush()  # else Python does at its end, and reports a closed pipe
        except BrokenPipeError:
            _discard(sys.stdout)
            return CLOSED_PIPE

    return quiet


def _discard(stream):
    """Let what is written to a stream from now on, and what it still holds, go nowhere."""
    with open(os.devnull, "w") as nowhere, contextlib.suppress(OSError):  # it may have no file
        os.dup2(nowhere.fileno(), stream.fileno())
