"""Errors a user can mend. The command line prints their message without a traceback."""


class InputError(ValueError):
    """Wrong input: a file, a record, a key or an argument. The message names it and says what to do about it."""


class AgreedError(InputError):
    """An InputError that every rank raises at the same point with the same message."""
