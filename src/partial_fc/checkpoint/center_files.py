"""Class centers and their optimizer's state as safetensors files, one per rank, which any number of ranks can read."""

import glob
import os
import zlib
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..errors import InputError
from ..head.memory_bank import MemoryBank
from ..head.optimizer import OPTIMIZERS, CenterSGD
from .checkpoints import MANIFEST
from .tensor_file import open_tensors, write_tensors

# Bytes of centers, or of one array of the state, that are copied at a time.
_BLOCK_BYTES = 2**24
_ENDS = 2**20  # bytes at either end of a file that count for its checksum
_WEIGHT = "weight"
_STATES = tuple(optimizer.states for optimizer in OPTIMIZERS.values())

Block = Tuple[Any, ...]  # number of the first row or class, weight (n, D), and each array of the state (n, D)


def centers_file(rank: int, world_size: int) -> str:
    """Name of the file of one rank's centers."""
    return f"centers-{rank:05d}-of-{world_size:05d}.safetensors"


def row_blocks(num_rows: int, embedding_size: int, start: int = 0) -> List[slice]:
    """Slices of range(start, num_rows), of at most 16 MB each."""
    size = max(1, _BLOCK_BYTES // (4 * embedding_size))
    return [slice(first, min(first + size, num_rows)) for first in range(start, num_rows, size)]


def write_centers(
    path: str,
    class_start: int,
    num_local: int,
    num_classes: int,
    embedding_size: int,
    blocks: Iterable[Block],
    states: Sequence[str] = CenterSGD.states,
) -> None:
    """Write `weight` and the optimizer's state, (num_local, D) each, of the classes from `class_start` on.

    Args:
        path: of the new file.
        class_start: first class in it.
        num_local: number of classes in it.
        num_classes: number of classes in all files.
        embedding_size: D.
        blocks: together all rows.
        states: names of the arrays of the state.

    Raises:
        OSError: the file cannot be written.
    """
    names = (_WEIGHT, *states)
    named = ((name, row, array) for row, *arrays in blocks for name, array in zip(names, arrays))
    metadata = {"class_start": str(class_start), "num_classes": str(num_classes)}
    write_tensors(path, dict.fromkeys(names, (num_local, embedding_size)), named, metadata)


def save_centers(folder: str, bank: MemoryBank, world_size: int) -> List[str]:
    """Write the rows of a bank to the file of its rank, none for a bank without classes; raises as `write_centers`.

    Returns:
        Names of the files written.
    """
    if not bank.num_local:
        return []
    name = centers_file(bank.rank, world_size)
    blocks = ((rows.start, *bank.to_numpy(rows)) for rows in row_blocks(bank.num_local, bank.embedding_size))
    class_start = bank.partition.class_start
    write_centers(
        os.path.join(folder, name),
        class_start,
        bank.num_local,
        bank.num_classes,
        bank.embedding_size,
        blocks,
        bank.states,
    )
    return [name]


def load_centers(folder: str, bank: MemoryBank, with_state: bool = True) -> bool:
    """Fill a bank from the files of any number of ranks, one block at a time.

    Args:
        folder: of the files.
        bank: to fill.
        with_state: whether to load the optimizer's state, too; it is 0 otherwise, and where the files have that of
            another optimizer.

    Returns:
        Whether the state was loaded.

    Raises:
        InputError: as `CenterFiles`; the number of classes or dimensions is not the bank's.
    """
    files = CenterFiles(folder)
    files.check_size(bank.num_classes, bank.embedding_size)
    with_state = with_state and files.states == bank.states
    for class_start, weight, *states in files.blocks(*bank.partition):
        bank.set(class_start, weight, *(states if with_state else [np.zeros_like(weight) for _ in bank.states]))
    return with_state


def checksums(folder: str) -> Dict[str, str]:
    """Checksums of the files of centers in a folder, and of its manifest if it is a checkpoint, by name.

    They are of both ends of each file, which may be many gigabytes, and its size: enough to tell two runs apart.

    Raises:
        OSError: one cannot be read.
    """
    paths = [*_files_in(folder), *glob.glob(os.path.join(glob.escape(folder), MANIFEST))]
    return {os.path.basename(path): _checksum(path) for path in paths}


def _files_in(folder: str) -> List[str]:
    return glob.glob(os.path.join(glob.escape(folder), "centers-*-of-*.safetensors"))


def _checksum(path: str) -> str:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        value = zlib.crc32(file.read(_ENDS))
        file.seek(max(0, size - _ENDS))
        return f"{zlib.crc32(file.read(), value):08x} ({size} bytes)"


class _Shard(NamedTuple):
    """One file: its classes [start, end), the state's names, the number of all classes, the size of the embeddings."""

    start: int
    end: int
    path: str
    states: Tuple[str, ...]
    num_classes: int
    embedding_size: int


class CenterFiles:
    """The centers in a folder, by class, for any number of ranks that wrote them. Some of the files may be missing.

    Attributes:
        num_classes, embedding_size: of all files.
        states: names of the arrays of the optimizer's state.

    Raises:
        InputError: there are no files, a damaged one, or files of several runs.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        paths = _files_in(folder)
        if not paths:
            raise InputError(f"{folder}: {_instead_of_centers(folder)}")
        self._shards = sorted(map(_read_shard, paths))
        kinds = {(path.rpartition("-of-")[2], *kind) for _, _, path, *kind in self._shards}
        if len(kinds) > 1:
            raise InputError(f"{folder}: centers of several runs; keep only those of one")
        self.states, self.num_classes, self.embedding_size = self._shards[0][-3:]

    def check_size(self, num_classes: int, embedding_size: int) -> None:
        """Raise InputError if the centers have another number of classes or dimensions."""
        if (self.num_classes, self.embedding_size) != (num_classes, embedding_size):
            raise InputError(
                f"{self._folder}: centers of {self.num_classes} classes of size {self.embedding_size}, this run has "
                f"{num_classes} of size {embedding_size}: they belong to another data set, embedding_size or "
                "sub_centers; `partial-fc centers map` makes centers for other identities, `dominant` drops sub-centers"
            )

    def blocks(self, start: int, stop: int, with_state: bool = True) -> Iterator[Block]:
        """Blocks of the classes [start, stop), in order, at most 16 MB each; without the state only `weight` is read.

        Raises:
            InputError: some of the classes are in none of the files.
        """
        parts = [(max(start, each.start), min(stop, each.end), each) for each in self._shards]
        missing = stop - start - sum(max(0, end - begin) for begin, end, _ in parts)
        if missing:
            raise InputError(
                f"{self._folder}: {missing} of the classes [{start}, {stop}) are in none of its {len(parts)} files "
                "centers-*.safetensors: copy those of all hosts into this folder"
            )
        for begin, end, shard in parts:
            if begin < end:
                yield from self._blocks_of(shard, begin, end, shard.states if with_state else ())

    def take(self, classes: np.ndarray) -> List[np.ndarray]:
        """`weight` and state, (n, D) each, of classes (n,) in any order; consecutive classes are read together.

        Raises:
            InputError: some of the classes are in none of the files.
        """
        order = np.argsort(classes, kind="stable")
        arrays = [np.empty((len(classes), self.embedding_size), np.float32) for _ in (_WEIGHT, *self.states)]
        for run in np.split(order, np.flatnonzero(np.diff(classes[order]) != 1) + 1):
            first, last = int(classes[run[0]]), int(classes[run[-1]])
            for start, *block in self.blocks(first, last + 1):
                for array, rows in zip(arrays, block):
                    array[run[start - first : start - first + len(rows)]] = rows
        return arrays

    def _blocks_of(self, shard: _Shard, begin: int, end: int, states: Tuple[str, ...]) -> Iterator[Block]:
        with open_tensors(shard.path) as file:
            arrays = [file.get_slice(name) for name in (_WEIGHT, *states)]
            for rows in row_blocks(end - shard.start, self.embedding_size, begin - shard.start):
                yield (shard.start + rows.start, *(array[rows] for array in arrays))


def _instead_of_centers(folder: str) -> str:
    """What is wrong with a folder without centers, and what to do."""
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
    return "has no centers, files centers-*-of-*.safetensors"


def _read_shard(path: str) -> _Shard:
    with open_tensors(path) as file:
        try:
            start, num_classes = (int(file.metadata()[key]) for key in ("class_start", "num_classes"))
            states = next(states for states in _STATES if set(states) <= set(file.keys()))
            arrays = [file.get_slice(name) for name in (_WEIGHT, *states) if name in file.keys()]
            (num_local, embedding_size), *others = [array.get_shape() for array in arrays]
            kinds = {array.get_dtype() for array in arrays}
        except (TypeError, KeyError, ValueError, StopIteration) as error:
            raise InputError(f"{path}: not a file of centers") from error
    fits = others == [[num_local, embedding_size]] * len(states)
    if not fits or kinds != {"F32"} or not 0 <= start <= start + num_local <= num_classes:
        raise InputError(f"{path}: not a file of centers")
    return _Shard(start, start + num_local, path, states, num_classes, embedding_size)
