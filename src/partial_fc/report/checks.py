"""Checks of the numbers in files, which anyone may have written: ValueError or TypeError for other values."""

from typing import Any

_MOST = 10**12


def cosine(value: Any) -> float:
    """A cosine, given as a number or as text."""
    found = float(value)
    if not -1.01 < found < 1.01:  # a sum of rounded products may exceed 1 a little
        raise ValueError(f"{value!r:.80} is not a cosine")
    return found


def count(value: Any) -> int:
    """A whole number from 0 to 10**12, such as a count or the label of a class."""
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ValueError(f"{value!r:.80} is not a count")
    return value


def number(value: Any) -> float:
    """A number from -10**12 to 10**12: no run has more of anything, and Python has no times that are much longer."""
    if type(value) not in (int, float) or not abs(value) <= _MOST:
        raise ValueError(f"{value!r:.80} is not a number of a run")
    return value
