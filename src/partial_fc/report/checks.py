"""Numbers in files that others may have written; the functions raise ValueError or TypeError for other values."""

from typing import Any

_MOST = 10**12


def cosine(value: Any) -> float:
    """A cosine, of a number or its text."""
    number = float(value)
    if not -1.01 < number < 1.01:  # a sum of rounded products may exceed 1 a little
        raise ValueError(f"{value!r:.80} is not a cosine")
    return number


def count(value: Any) -> int:
    """A count, or a label, of a whole number."""
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ValueError(f"{value!r:.80} is not a count")
    return value


def number(value: Any) -> float:
    """A number of a run; those of more than a million million are damaged, and Python cannot show them as a time."""
    if type(value) not in (int, float) or not abs(value) <= _MOST:
        raise ValueError(f"{value!r:.80} is not a number of a run")
    return value
