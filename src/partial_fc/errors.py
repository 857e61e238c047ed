"""Errors a user can mend, and the exit statuses of a run. The command line prints their message without a traceback."""

import errno

# argparse's for wrong arguments: the same run would fail again. The other: it may do better when it is started again.
WRONG_INPUT, FAILED = 2, 75
# What is wrong with a disk or a system, not with a path.
_OF_THE_SYSTEM = (
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
)


class InputError(ValueError):
    """Wrong input: a file, a record, a key or an argument. The message names it and says what to do about it."""


class AgreedError(InputError):
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
    if isinstance(error, AgreedError):
        return error.status
    if isinstance(error, InputError):
        return FAILED if getattr(error.__cause__, "errno", None) in _OF_THE_SYSTEM else WRONG_INPUT
    return FAILED
