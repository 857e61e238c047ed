"""Errors that a user can correct, the text of any error, and the exit statuses of all commands."""

import errno
import os
import re
import signal

# Exit statuses of every command, beside 0. The table in docs/reliability.md explains them.
PROBLEMS_FOUND = 1  # `data check` and `doctor` have run, and have found something wrong
WRONG_INPUT = 2  # as argparse has it: an argument or a file; the same command would fail again
FAILED = 75  # as sysexits.h has it (EX_TEMPFAIL): a disk, a rank or a host; the same command may succeed later
INTERRUPTED = 128 + signal.SIGINT  # Ctrl-C; 128 + the signal's number, as in a shell
CLOSED_PIPE = 128 + signal.SIGPIPE  # the reader of the output has ended, as after `| head`
STOPPED = 128 + signal.SIGTERM  # a signal asked the training to end, and it has saved a checkpoint

# Errors of a disk or a system rather than of a path.
_OF_THE_SYSTEM = (
    errno.EIO,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
)
_TRACEBACK = re.compile(r'(Traceback \(most recent call last\):|File "(?P<file>[^"]+)", line (?P<line>\d+))$')
_PLACE = re.compile(r"\[\d\d:\d\d:\d\d\] (?P<file>\S+):(?P<line>\d+): ")
_KIND = re.compile(r"^(?:\w+: (?=Check failed|Error in operator|\w+Error: )|MXNetError: )")
_STACK = ("Stack trace", "[bt]")


class InputError(ValueError):
    """Wrong input: a file, a record, a key or an argument. The message names it and says what to do about it."""


class CollectiveError(InputError):
    """An error that every rank raises at the same point with the same message.

    Args:
        message: str.
        status: exit status of its cause, see `exit_status`.
    """

    def __init__(self, message: str, status: int = WRONG_INPUT):
        super().__init__(message)
        self.status = status


def exit_status(error: BaseException) -> int:
    """Exit status of a run that an error ends; what a full or broken disk has caused is no wrong input."""
    if isinstance(error, CollectiveError):
        return error.status
    if isinstance(error, InputError):
        return FAILED if getattr(error.__cause__, "errno", None) in _OF_THE_SYSTEM else WRONG_INPUT
    return FAILED


def cause(error: BaseException) -> str:
    """The message of an exception in one line, without its type.

    MXNet's messages are tracebacks: what stays is the sentence of the check that failed, with the operator, or else
    with the file of MXNet that checks it. Of other messages the lines are joined.

    Returns:
        str; the name of the exception's type where it has no message.
    """
    sentences, place = [], None
    for line in map(str.strip, str(error).splitlines()):
        if line.startswith(_STACK):
            break
        found = _TRACEBACK.match(line)
        if found:
            place = found if found["file"] else place
        elif line:
            place = _PLACE.search(line) or place
            sentences.append(_KIND.sub("", _PLACE.sub("", line)))
    text = " ".join(sentences) or type(error).__name__
    if place and "perator" not in text:
        text += f" ({os.path.basename(place['file'])}:{place['line']})"
    return text


def described(error: BaseException) -> str:
    """Type and message of an exception in one line, see `cause`."""
    name, text = type(error).__name__, cause(error)
    return name if text == name else f"{name}: {text}"
