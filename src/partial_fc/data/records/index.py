"""Index files, `train.idx`: lines of a record number and its position, as arrays from the start; and to rebuild them.

A dictionary of 17 million records would take 2 GB of every rank, and a minute to build.
"""

import array
import logging
import mmap
import os
import warnings

import numpy as np

from ...errors import InputError
from ...files import atomic_path, naming, refuse_pointer
from .recordio import MAGIC, read_header, walk

log = logging.getLogger("partial_fc")

LACKING, MISPLACED = -1, -2
_BLOCK = 2**24
# Numbers may have gaps, but a damaged one must not ask for memory without bound.
_NUMBERS_A_RECORD, _NUMBERS_AT_LEAST = 16, 2**20
_LOOKED_AT = 64
_LONGEST_LINE = 256  # bytes; two numbers have 40 at most


def index_path(path):
    """Path of the index of the record file `path`."""
    return os.path.splitext(path)[0] + ".idx"


def rebuild_index(path, progress, overwrite=False):
    """Write the index of a record file anew, from the headers of its records; what is damaged is left out, and logged.

    Records have the numbers in their headers, as im2rec and InsightFace's tools write them. Where several have the
    same one, records are counted from 0 on.

    Args:
        path: of the record file; the index is the `.idx` file of the same name.
        progress: see `glint360k.prepare`.
        overwrite: whether an index that is there may be replaced.

    Returns:
        Number of records.

    Raises:
        InputError: no such file, or one without records; an index that is there; ranges of identities among records
            of the same number.
        OSError: naming the file, if the index cannot be written.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file")
    refuse_pointer(path)
    if os.path.exists(index_path(path)) and not overwrite:
        raise InputError(f"{index_path(path)} exists: --overwrite replaces it")
    numbers, positions, only_images = _headers(path, progress)
    numbers = _distinct(path, numbers, only_images)
    with atomic_path(index_path(path)) as unfinished, naming(index_path(path)), open(unfinished, "w") as file:
        file.writelines(f"{number}\t{position}\n" for number, position in zip(numbers, positions))
    return len(positions)


def _headers(path, progress):
    """Numbers in the headers of all records and their positions, two arrays, and whether all have images."""
    numbers, positions, only_images, size = array.array("Q"), array.array("q"), True, os.path.getsize(path)
    if not size:
        raise InputError(f"{path}: an empty file")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        with progress(size, "reading headers") as advance:
            for start, header, end in walk(file.fileno(), data, 0, size, read_header):
                advance(end - start)
                if header is None:
                    log.warning("%s: bytes %d to %d are no record: left out", path, start, end - 1)
                    continue
                numbers.append(header.id)
                positions.append(start)
                only_images &= header.has_image
    if not positions:
        raise InputError(f"{path}: not one record: it is no record file, or damaged")
    return numbers, positions, only_images


def _distinct(path, numbers, only_images):
    """The numbers themselves, if an index can have them; else 0, 1, ...."""
    values, counts = np.unique(np.frombuffer(numbers, np.uint64), return_counts=True)
    if len(values) == len(numbers) and values[-1] < _numbers_end(len(numbers)):
        return numbers
    why = f"{counts.max()} records have the number {values[counts.argmax()]} in their headers"
    if counts.max() == 1:
        why = f"a record has the number {values[-1]} in its header"
    if not only_images:
        raise InputError(
            f"{path}: {why}, and some hold ranges of identities, which name records by number: the index cannot be "
            "rebuilt; pack the images again"
        )
    log.warning("%s: %s: records are counted from 0 on instead, in the order of the file", path, why)
    return range(len(numbers))


def _numbers_end(count):
    """What the numbers of so many records have to be below."""
    return max(_NUMBERS_AT_LEAST, _NUMBERS_A_RECORD * count)


def check_starts(path, positions, words):
    """Raise InputError if no record starts where an index says, as in that of another file; some are looked at.

    Args:
        path: of the index.
        positions: of `read_index`.
        words: the record file as uint32.
    """
    placed = positions[(positions > 0) & (positions < 4 * len(words))]  # in every file one starts at 0
    looked_at = placed[np.linspace(0, len(placed) - 1, min(len(placed), _LOOKED_AT)).astype(np.int64)]
    if len(looked_at) > 1 and (words[looked_at // 4] != MAGIC).all():
        raise InputError(f"{path}: no record starts at byte {looked_at[0]}, nor at its others: it is of another file")


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
    if highest >= _numbers_end(count):
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
            if len(rest) > _LONGEST_LINE:
                raise InputError(f"{path}: has a line of more than {_LONGEST_LINE} bytes: this is not an index")


def _parse(path, text):
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # how NumPy reports something else than a number
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
