"""Lists of a few integers per line, read as arrays: many lines at a time, and one by one only where one is unusual."""

from typing import Iterator, Sequence, Tuple

import numpy as np

from ..errors import InputError
from .text import numbered_lines, shown_text, text_blocks, whole_numbers

_LARGEST = 10**18 - 1  # `whole_numbers` takes no larger one
_PLAIN = b"0123456789 \t\n"


def number_rows(path: str, columns: int, what: str) -> Iterator[Tuple[Sequence[int], np.ndarray]]:
    """Yield (line numbers of m lines, int64 (m, columns)) of a list of integers from 0 on, block by block.

    Args:
        path: of the file, see `text_blocks`.
        columns: integers per line, separated by spaces or tabs.
        what: describes an expected line, for error messages.

    Raises:
        InputError: a line has another form; the message names file and line. Also as `text_blocks`.
    """
    for first, text in text_blocks(path):
        rows = _plain_rows(text, columns)
        yield (range(first, first + len(rows)), rows) if rows is not None else _rows(path, first, text, columns, what)


def _plain_rows(text, columns):
    """int64 (lines, columns) of a text whose lines all have that many integers; None for other text."""
    data = text.encode("utf-8", "surrogateescape")
    if data.translate(None, _PLAIN):
        return None
    marks = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(marks == ord("\n"))
    digits = marks >= ord("0")
    starts = np.flatnonzero(digits & ~np.concatenate([[False], digits[:-1]]))
    if len(starts) != columns * len(ends):
        return None
    edges = starts.reshape(-1, columns)
    if (edges[:, -1] > ends).any() or (edges[1:, 0] < ends[:-1]).any():
        return None
    rows = np.fromstring(data, np.int64, sep=" ").reshape(-1, columns)
    return rows if rows.max() <= _LARGEST else None


def _rows(path, first, text, columns, what):
    """What `number_rows` yields, read line by line."""
    numbers, rows = [], []
    for number, line in numbered_lines(first, text):
        try:
            row = whole_numbers(line.split())
        except ValueError:
            row = []
        if len(row) != columns:
            raise InputError(f"{path}, line {number}: expected {what}, found {shown_text(line)}")
        numbers.append(number)
        rows.append(row)
    return numbers, np.array(rows, np.int64).reshape(-1, columns)
