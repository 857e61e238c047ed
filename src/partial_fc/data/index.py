"""Index files, `train.idx`: lines of a record number and its position, as arrays from the start.

A dictionary of 17 million records would take 2 GB of every rank, and a minute to build.
"""

import warnings

import numpy as np

from ..errors import InputError

LACKING, MISPLACED = -1, -2
_BLOCK = 2**24
# Numbers may have gaps, but a damaged one must not ask for memory without bound.
_NUMBERS_A_RECORD, _NUMBERS_AT_LEAST = 16, 2**20


def read_index(path, size):
    """Positions by record number, (largest number + 1,) int64; LACKING where the index lacks a number.

    A position outside of the record file, or not at a multiple of 4, is MISPLACED: others may be right.

    Args:
        path: of the index.
        size: of the record file, in bytes.

    Raises:
        InputError: lines that are not two numbers, a number twice, most positions misplaced.
    """
    blocks, count, misplaced, example = [], 0, 0, None
    for rows in _blocks(path):
        if rows[:, 0].min() < 0:
            raise InputError(f"{path}: has the record number {rows[:, 0].min()}")
        wrong = np.flatnonzero((rows[:, 1] < 0) | (rows[:, 1] >= size) | (rows[:, 1] & 3 != 0))
        example = rows[wrong[0]].tolist() if len(wrong) and not example else example
        rows[wrong, 1] = MISPLACED
        blocks.append(rows)
        count, misplaced = count + len(rows), misplaced + len(wrong)
    if 2 * misplaced > count:
        raise InputError(
            f"{path}: record {example[0]} is said to start at byte {example[1]}, where none can in a file of {size} "
            f"bytes ({misplaced} of {count} lines are like this): it is damaged, or the index of another file"
        )
    highest = max((int(rows[:, 0].max()) for rows in blocks), default=-1)
    if highest >= max(_NUMBERS_AT_LEAST, _NUMBERS_A_RECORD * count):
        raise InputError(f"{path}: record number {highest} among {count} records: it is damaged")
    table = np.full(highest + 1, LACKING, np.int64)
    while blocks:
        numbers, positions = blocks.pop().T
        table[numbers] = positions
    if np.count_nonzero(table != LACKING) != count:
        raise InputError(f"{path}: has a record number twice")
    return table


def _blocks(path):
    """(lines, 2) int64 of record numbers and positions, block by block."""
    rest = b""
    with open(path, "rb") as file:
        while True:
            block = file.read(_BLOCK)
            text = rest + block
            cut = text.rfind(b"\n") + 1 if block else len(text)
            text, rest = text[:cut], text[cut:]
            if text.strip():
                yield _parse(path, text)
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
    if rows is None or len(rows) != lines or not _alternate(text):
        raise InputError(f"{path}: not an index of record numbers and positions, a line each with a tab between them")
    return rows


def _alternate(text):
    """Whether tabs and ends of lines take turns."""
    marks = np.frombuffer(text, np.uint8)
    marks = marks[(marks == ord("\t")) | (marks == ord("\n"))]
    return bool((marks[::2] == ord("\t")).all() and (marks[1::2] == ord("\n")).all())
