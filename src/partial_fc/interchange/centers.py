"""Class centers from and to arcface_torch: the `weight` of each rank in a file softmax_fc_gpu_RANK.

Rank r of S has N // S consecutive classes of N, and one more if r < N % S. The form of a file follows its ending:
`.safetensors` and `.pt` (with PyTorch installed) hold a state dict with `weight`, `.npy` holds that array alone.
"""

import contextlib
import os
import re
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from ..checkpoint.center_files import CenterFiles, row_blocks
from ..checkpoint.convert_centers import check_classes, finite_rows, new_folder, write_all
from ..checkpoint.numpy_file import open_matrix, write_matrix
from ..checkpoint.tensor_file import open_tensors, write_tensors
from ..errors import InputError
from ..files import atomic_path, has_ending
from .state_file import FLOATS, import_torch, read_state, refuse_bfloat16, write_state

FORMS = ("safetensors", "npy", "pt")

_NAME = re.compile(r"(?:softmax_fc_gpu_|checkpoint_gpu_)(\d+)\.(safetensors|npy|pt)")
_WEIGHT, _PART = "weight", "state_dict_softmax_fc"  # the latter in whole checkpoints, checkpoint_gpu_RANK.pt

Block = Tuple[int, np.ndarray, np.ndarray]


class _Shard(NamedTuple):
    """The centers of one rank.

    Attributes:
        path: of the file.
        shape: (num_local, D).
        rows: array to take slices of rows from, read from the file as they are taken where its form allows that.
    """

    path: str
    shape: Tuple[int, ...]
    rows: Any


def has_arcface_torch(folder: str) -> bool:
    """Whether there are files of arcface_torch's centers in a folder."""
    return os.path.isdir(folder) and any(map(_NAME.fullmatch, os.listdir(folder)))


def shard_range(num_classes: int, world_size: int, rank: int) -> range:
    """The classes of a rank of arcface_torch."""
    size, rest = divmod(num_classes, world_size)
    start = rank * size + min(rank, rest)
    return range(start, start + size + (rank < rest))


def import_arcface_torch(
    folder: str, out: str, progress: Callable[[Iterable], Iterable] = iter, num_classes: Optional[int] = None
) -> None:
    """Convert the files of all ranks to centers; their momentum is 0.

    Args:
        folder: of these files.
        out: folder for the centers; it must not contain centers yet.
        progress: wraps the iteration over the ranks.
        num_classes: of all ranks, if it is known.

    Raises:
        InputError: damaged files, missing ones, numbers of rows that are not those of arcface_torch's ranks, or another
            number of classes; PyTorch is needed and not installed.
    """
    paths = _paths(folder)
    shapes = []
    for path in paths:
        with _open_shard(path) as shard:
            shapes.append(shard.shape)
    total, embedding_size = sum(shape[0] for shape in shapes), shapes[0][1]
    for rank, (path, shape) in enumerate(zip(paths, shapes)):
        expected = len(shard_range(total, len(paths), rank)), embedding_size
        if shape != expected:
            raise InputError(
                f"{path}: weight has the shape {shape}, rank {rank} of {len(paths)} with {total} classes in all "
                f"has {expected}: files of ranks are missing, or of several runs"
            )
    check_classes(folder, total, num_classes)
    write_all(out, total, embedding_size, _blocks(paths, progress))


def _paths(folder: str) -> List[str]:
    """The file of each rank, in order."""
    found: Dict[int, str] = {}
    for name in sorted(os.listdir(folder)):
        match = _NAME.fullmatch(name)
        if match and int(match[1]) in found:
            raise InputError(f"{folder}: {os.path.basename(found[int(match[1])])} and {name} are of one rank: keep one")
        if match:
            found[int(match[1])] = os.path.join(folder, name)
    if sorted(found) != list(range(len(found))):
        raise InputError(f"{folder}: has files of the ranks {sorted(found)}, expected 0, 1, 2 ... without a gap")
    return [found[rank] for rank in range(len(found))]


def _blocks(paths: List[str], progress: Callable[[Iterable], Iterable]) -> Iterator[Block]:
    start = 0
    for path in progress(paths):
        with _open_shard(path) as shard:
            for rows in row_blocks(*shard.shape):
                block = np.asarray(shard.rows[rows], np.float32)
                yield start + rows.start, finite_rows(path, block, rows.start), np.zeros_like(block)
            start += shard.shape[0]


@contextlib.contextmanager
def _open_shard(path: str) -> Iterator[_Shard]:
    """The rows of a file, while it is open. Raises InputError naming it."""
    if has_ending(path, ".npy"):
        array = open_matrix(path, "centers")
        yield _Shard(path, array.shape, array)
    elif has_ending(path, ".pt"):
        yield _shard(path, read_state(path, _PART))
    else:
        with open_tensors(path) as file:
            yield _shard(path, {name: file.get_slice(name) for name in file.keys() if name == _WEIGHT})


def _shard(path: str, arrays: Dict[str, Any]) -> _Shard:
    if _WEIGHT not in arrays:
        raise InputError(f"{path}: has no array {_WEIGHT}, the name of the centers in arcface_torch")
    rows = arrays[_WEIGHT]
    is_array = isinstance(rows, np.ndarray)
    shape = rows.shape if is_array else tuple(rows.get_shape())
    kind = rows.dtype.kind if is_array else rows.get_dtype()
    refuse_bfloat16(path, _WEIGHT, kind)
    if len(shape) != 2 or min(shape) < 1 or kind not in ("f", *FLOATS):
        raise InputError(f"{path}: {_WEIGHT} is {kind} of shape {shape}, expected float32 in two dimensions")
    return _Shard(path, shape, rows)


def export_arcface_torch(
    folder: str, out: str, world_size: int, form: str, progress: Callable[[Iterable], Iterable] = iter
) -> None:
    """Write `softmax_fc_gpu_RANK.FORM` for each rank of arcface_torch; the optimizer's state is left out, as there.

    Args:
        folder: of centers, see CenterFiles.
        out: folder for the new files.
        world_size: S, ranks that are to read them.
        form: one of `FORMS`.
        progress: wraps the iteration over the ranks.

    Raises:
        InputError: fewer classes than ranks; classes that are missing; PyTorch is not installed, for `pt`.
        OSError: naming the file that cannot be written.
    """
    centers = CenterFiles(folder)
    if centers.num_classes < world_size:
        raise InputError(f"{centers.num_classes} classes are fewer than {world_size} ranks")
    if form == "pt":
        import_torch(out)
    with new_folder(out, "softmax_fc_gpu_*"):
        for rank in progress(range(world_size)):
            classes = shard_range(centers.num_classes, world_size, rank)
            _write_shard(centers, os.path.join(out, f"softmax_fc_gpu_{rank}.{form}"), classes)


def _write_shard(centers: CenterFiles, path: str, classes: range) -> None:
    shape = len(classes), centers.embedding_size
    blocks = ((start - classes.start, rows) for start, rows, *_ in centers.blocks(classes.start, classes.stop))
    if has_ending(path, ".pt"):
        weight = np.empty(shape, np.float32)
        for row, rows in blocks:
            weight[row : row + len(rows)] = rows
        write_state(path, {_WEIGHT: weight})
        return
    if has_ending(path, ".npy"):
        write_matrix(path, shape, (rows for _, rows in blocks))
        return
    with atomic_path(path) as unfinished:
        write_tensors(unfinished, {_WEIGHT: shape}, ((_WEIGHT, *block) for block in blocks), {"format": "pt"})
