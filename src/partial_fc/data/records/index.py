"""Index files, `train.idx`, with a line for each record: its number and its position. Read into an array, or rebuilt.

A dictionary of 17 million records would take 2 GB per rank, and a minute to build.
"""

import array
import logging
import mmap
import os
import warnings
from typing import List

import numpy as np

from ...errors import InputError
from ...files import atomic_path, naming, refuse_pointer
from ..progress import ByteProgress
from .recordio import MAGIC, read_header, walk

log = logging.getLogger("partial_fc")

LACKING, MISPLACED = -1, -2
_BLOCK = 2**24  # bytes
# Numbers may have gaps, but a damaged number must not allocate memory without bound.
_NUMBERS_PER_RECORD, _NUMBERS_AT_LEAST = 16, 2**20
_EXAMINED = 64
_LONGEST_LINE = 256  # bytes; two numbers have 40 at most


def index_path(path: str) -> str:
    """Path of the index of the record file `path`."""
    return os.path.splitext(path)[0] + ".idx"


def rebuild_index(path: str, progress: ByteProgress, overwrite: bool = False) -> int:
    """Write the index of a record file anew, from the headers of its records; damaged records are skipped and logged.

    Records get the numbers in their headers, which im2rec and InsightFace's tools write. Where several headers have the
    same number, records are counted from 0 on.

    Args:
        path: of the record file; the index is the `.idx` file of the same name.
        progress: see `ByteProgress`.
        overwrite: whether an existing index may be replaced.

    Returns:
        Number of records.

    Raises:
        InputError: there is no such file, or no record in it; the index exists; records of the same number, and ranges
            of identities, which name records by number.
        OSError: the index cannot be written; the error names it.
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
    """Numbers in the headers of all records, their positions, and whether all have images."""
    numbers, positions, only_images, size = array.array("Q"), array.array("q"), True, os.path.getsize(path)
    if not size:
        raise InputError(f"{path}: the file is empty")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        with progress(size, "reading headers") as advance:
            for start, header, end in walk(file.fileno(), data, 0, size, read_header):
                advance(end - start)
                if header is None:
                    log.warning("%s: bytes %d to %d are not a record: skipped", path, start, end - 1)
                    continue
                numbers.append(header.id)
                positions.append(start)
                only_images &= header.has_image
    if not positions:
        raise InputError(f"{path}: no record found: it is not a record file, or damaged")
    return numbers, positions, only_images


def _distinct(path, numbers, only_images):
    """The numbers, if an index can have them; else 0, 1, ...."""
    values, counts = np.unique(np.frombuffer(numbers, np.uint64), return_counts=True)
    if len(values) == len(numbers) and values[-1] < _numbers_end(len(numbers)):
        return numbers
    why = f"{counts.max()} records have the number {values[counts.argmax()]} in their headers"
    if counts.max() == 1:
        why = f"a record has the number {values[-1]} in its header"
    if not only_images:
        raise InputError(
            f"{path}: {why}, and there are ranges of identities, which name records by number: the index cannot be "
            "rebuilt; pack the images again"
        )
    log.warning("%s: %s: numbering the records from 0 on, in the order of the file", path, why)
    return range(len(numbers))


def _numbers_end(count):
    """Bound that the numbers of `count` records have to be below."""
    return max(_NUMBERS_AT_LEAST, _NUMBERS_PER_RECORD * count)


def check_starts(path: str, positions: np.ndarray, words: np.ndarray) -> None:
    """Raise InputError if no record starts where the index says, as with the index of another file.

    Args:
        path: of the index.
        positions: of `read_index`; 64 of them are examined.
        words: the record file as uint32.
    """
    placed = positions[(positions > 0) & (positions < 4 * len(words))]  # in every file a record starts at 0
    examined = placed[np.linspace(0, len(placed) - 1, min(len(placed), _EXAMINED)).astype(np.int64)]
    if len(examined) > 1 and (words[examined // 4] != MAGIC).all():
        raise InputError(
            f"{path}: no record starts at byte {examined[0]}, nor at other positions in it: it belongs to another file"
        )


def read_index(path: str, size: int) -> np.ndarray:
    """Positions by record number, (largest number + 1,) int64; LACKING where the index does not have a number.

    A position outside of the record file, or not a multiple of 4, becomes MISPLACED: the others may be right.

    Args:
        path: of the index.
        size: of the record file, in bytes.

    Raises:
        InputError: a line is not two numbers, a number appears twice, most positions are misplaced.
    """
    blocks: List[np.ndarray] = []
    count = misplaced = 0
    example: List[int] = []
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
            f"{path}: gives byte {example[1]} as the start of record {example[0]}, impossible in a file of {size} "
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
        raise InputError(f"{path}: a record number appears twice")
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
                raise InputError(f"{path}: has a line of more than {_LONGEST_LINE} bytes: it is not an index")


def _parse(path, text):
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns of text that is not a number
            rows = np.fromstring(text, np.int64, sep=" ").reshape(-1, 2)
    except (ValueError, DeprecationWarning):
        rows = None
    if rows is None or len(rows) != lines or not _alternate(text):
        raise InputError(f"{path}: not an index: expected lines of a record number, a tab and a position")
    return rows


def _alternate(text):
    """Whether tabs and ends of lines take turns."""
    marks = np.frombuffer(text, np.uint8)
    marks = marks[(marks == ord("\t")) | (marks == ord("\n"))]
    return bool((marks[::2] == ord("\t")).all() and (marks[1::2] == ord("\n")).all())
