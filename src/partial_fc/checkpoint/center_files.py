"""Class centers and their momentum as safetensors files, one a rank, which any number of ranks can read."""

import glob
import os
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .tensor_file import open_tensors, write_tensors

# Rows of centers, or of momentum, that are on their way at a time.
_BLOCK_BYTES = 2**24
_NAMES = "weight", "weight_mom"


def centers_file(rank, world_size):
    """Name of the file of one rank's centers."""
    return f"centers-{rank:05d}-of-{world_size:05d}.safetensors"


def row_blocks(num_rows, embedding_size, start=0):
    """Slices of range(start, num_rows), of 16 MB each."""
    size = max(1, _BLOCK_BYTES // (4 * embedding_size))
    return [slice(first, min(first + size, num_rows)) for first in range(start, num_rows, size)]


def write_centers(path, class_start, num_local, num_classes, embedding_size, blocks):
    """Write `weight` and `weight_mom` (num_local, D) of the classes from `class_start` on.

    Args:
        num_classes: of all files.
        blocks: iterable of (first row, weight (n, D), weight_mom (n, D)), NumPy arrays, together all rows.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    named = ((name, row, array) for row, *arrays in blocks for name, array in zip(_NAMES, arrays))
    metadata = {"class_start": str(class_start), "num_classes": str(num_classes)}
    write_tensors(path, dict.fromkeys(_NAMES, (num_local, embedding_size)), named, metadata)


def save_centers(folder, bank, world_size):
    """Write a bank's rows into the file of its rank; a bank without classes has none. See `write_centers`.

    Returns:
        Names of the files written.
    """
    if not bank.num_local:
        return []
    name = centers_file(bank.rank, world_size)
    blocks = ((rows.start, *bank.to_numpy(rows)) for rows in row_blocks(bank.num_local, bank.embedding_size))
    class_start = bank.partition.class_start
    write_centers(
        os.path.join(folder, name), class_start, bank.num_local, bank.num_classes, bank.embedding_size, blocks
    )
    return [name]


def load_centers(folder, bank):
    """Fill a bank from the files of any number of ranks; what is read but not yet stored is one block.

    Raises:
        InputError: as `CenterFiles`; other numbers of classes or dimensions than the bank's.
    """
    files = CenterFiles(folder)
    files.check_size(bank.num_classes, bank.embedding_size)
    for class_start, weight, weight_mom in files.blocks(*bank.partition):
        bank.set(class_start, weight, weight_mom)


class _Shard(NamedTuple):
    """One file: its classes [start, end), of how many, and the size of the embeddings."""

    start: int
    end: int
    path: str
    num_classes: int
    embedding_size: int


class CenterFiles:
    """The centers in a folder, by class, whatever ranks have written them. Files of some of the ranks will do.

    Attributes:
        num_classes, embedding_size: of all files.

    Raises:
        InputError: no files, a damaged one, or those of several runs.
    """

    def __init__(self, folder):
        self._folder = folder
        paths = glob.glob(os.path.join(glob.escape(folder), "centers-*-of-*.safetensors"))
        if not paths:
            raise InputError(f"{folder}: {_instead_of_centers(folder)}")
        self._shards = sorted(map(_read_shard, paths))
        kinds = {(path.rpartition("-of-")[2], *kind) for _, _, path, *kind in self._shards}
        if len(kinds) > 1:
            raise InputError(f"{folder}: centers of several runs; keep one run's")
        self.num_classes, self.embedding_size = self._shards[0][-2:]

    def check_size(self, num_classes, embedding_size):
        """Raise InputError if the centers are of another number of classes or dimensions."""
        if (self.num_classes, self.embedding_size) != (num_classes, embedding_size):
            raise InputError(
                f"{self._folder}: centers of {self.num_classes} classes of size {self.embedding_size}, this run has "
                f"{num_classes} of size {embedding_size}: of another data set or --set embedding_size; "
                "`partial-fc centers map` makes centers for other identities"
            )

    def blocks(self, start, stop):
        """(first class, weight (n, D), weight_mom (n, D)) of the classes [start, stop), in order, at most 16 MB each.

        Raises:
            InputError: some of the classes are in none of the files.
        """
        parts = [(max(start, each.start), min(stop, each.end), each) for each in self._shards]
        missing = stop - start - sum(max(0, end - begin) for begin, end, _ in parts)
        if missing:
            raise InputError(
                f"{self._folder}: {missing} of the classes [{start}, {stop}) are in none of its {len(parts)} files "
                "centers-*.safetensors: bring those of all hosts together"
            )
        for begin, end, shard in parts:
            if begin < end:
                yield from self._blocks_of(shard, begin, end)

    def take(self, classes):
        """`weight` and `weight_mom` (n, D) of some classes, (n,) integers in any order; runs of them are read at once.

        Raises:
            InputError: some of the classes are in none of the files.
        """
        order = np.argsort(classes, kind="stable")
        arrays = [np.empty((len(classes), self.embedding_size), np.float32) for _ in _NAMES]
        for run in np.split(order, np.flatnonzero(np.diff(classes[order]) != 1) + 1):
            first, last = int(classes[run[0]]), int(classes[run[-1]])
            for start, *block in self.blocks(first, last + 1):
                for array, rows in zip(arrays, block):
                    array[run[start - first : start - first + len(rows)]] = rows
        return arrays

    def _blocks_of(self, shard, begin, end):
        with open_tensors(shard.path) as file:
            arrays = [file.get_slice(name) for name in _NAMES]
            for rows in row_blocks(end - shard.start, self.embedding_size, begin - shard.start):
                yield (shard.start + rows.start, *(array[rows] for array in arrays))


def _instead_of_centers(folder):
    """What a folder without centers is, and what to do."""
    below = [
        path
        for inner in (".", "checkpoints")
        for path in sorted(glob.glob(os.path.join(glob.escape(folder), inner, "update-*", "centers-*.safetensors")))
    ]
    if not os.path.isdir(folder):
        return "no such folder"
    if below:
        newest = os.path.dirname(os.path.normpath(below[-1]))
        return f"has the centers of several checkpoints: name one of them, such as {newest}"
    if glob.glob(os.path.join(glob.escape(folder), "*_centers.param")):
        return "has centers of the published system: convert them with `partial-fc centers import`"
    return "no centers there, files centers-*-of-*.safetensors"


def _read_shard(path):
    with open_tensors(path) as file:
        try:
            start, num_classes = (int(file.metadata()[key]) for key in ("class_start", "num_classes"))
            arrays = [file.get_slice(name) for name in _NAMES if name in file.keys()]
            (num_local, embedding_size), other = [array.get_shape() for array in arrays]
            kinds = {array.get_dtype() for array in arrays}
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(f"{path}: not a file of centers") from error
    if [num_local, embedding_size] != other or kinds != {"F32"} or not 0 <= start <= start + num_local <= num_classes:
        raise InputError(f"{path}: not a file of centers")
    return _Shard(start, start + num_local, path, num_classes, embedding_size)
