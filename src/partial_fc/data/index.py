"""Index files, `train.idx`: lines of a record number and its position, as arrays from the start.

A dictionary of 17 million records would take 2 GB of every rank, and a minute to build.
"""

import warnings

import numpy as np

from ..errors import InputError

_BLOCK = 2**24
# Numbers may have gaps, but a damaged one must not ask for memory without bound.
_NUMBERS_A_RECORD, _NUMBERS_AT_LEAST = 16, 2**20


def read_index(path, size):
    """Positions by record number, (largest number + 1,) int64; -1 where the index lacks a number.

    Args:
        path: of the index.
        size: of the record file, in bytes.

    Raises:
        InputError: lines that are not two numbers, a number twice, a position outside of the record file or not at a
            multiple of 4.
    """
    blocks = list(_blocks(path, size))
    count = sum(len(rows) for rows in blocks)
    highest = max((int(rows[:, 0].max()) for rows in blocks), default=-1)
    if highest >= max(_NUMBERS_AT_LEAST, _NUMBERS_A_RECORD * count):
        raise InputError(f"{path}: record number {highest} among {count} records: it is damaged")
    table = np.full(highest + 1, -1, np.int64)
    while blocks:
        numbers, positions = blocks.pop().T
        table[numbers] = positions
    if np.count_nonzero(table >= 0) != count:
        raise InputError(f"{path}: has a record number twice")
    return table


def _blocks(path, size):
    """(lines, 2) int64 of record numbers and positions, block by block."""
    rest = b""
    with open(path, "rb") as file:
        while True:
            block = file.read(_BLOCK)
            text = rest + block
            cut = text.rfind(b"\n") + 1 if block else len(text)
            text, rest = text[:cut], text[cut:]
            if text.strip():
                yield _checked(path, _parse(path, text), size)
            if not block:
                return


def _parse(path, text):
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # how NumPy tells that it met something else than a number
            rows = np.fromstring(text, np.int64, sep=" ").reshape(-1, 2)
    except (ValueError, DeprecationWarning):
        rows = None
    if rows is None or len(rows) != lines or text.count(b"\t") != lines:
        raise InputError(f"{path}: not an index of record numbers and positions, a line each with a tab between them")
    return rows


def _checked(path, rows, size):
    numbers, positions = rows.T
    wrong = np.flatnonzero((positions < 0) | (positions >= size) | (positions & 3 != 0))
    if len(wrong):
        raise InputError(
            f"{path}: record {numbers[wrong[0]]} is said to start at byte {positions[wrong[0]]}, where none can in a "
            f"file of {size} bytes ({len(wrong)} such lines here): it is damaged, or the index of another file"
        )
    if numbers.min() < 0:
        raise InputError(f"{path}: has the record number {numbers.min()}")
    return rows
