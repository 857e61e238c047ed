"""Conversion of class centers: from and to files of the published system and of NumPy, and to other identities."""

import contextlib
import glob
import os
import re
from typing import Any, Callable, Iterable, Iterator, Optional, Sequence, Tuple

import mxnet as mx
import numpy as np

from ..distributed.lock import LOCK, Lock
from ..errors import InputError
from ..files import atomic_path, naming, remove_unfinished
from ..head.host_arrays import file_array, ndarray_over
from ..head.memory_bank import fill_initial_centers
from ..head.optimizer import CenterSGD
from .center_files import Block, CenterFiles, centers_file, row_blocks, write_centers
from .numpy_file import open_matrix, write_matrix
from .params_file import load_ndarrays

Progress = Callable[[Any], Iterable[Any]]  # wraps an iterable to show progress


def import_original(folder: str, out: str, num_classes: int, progress: Progress = iter) -> None:
    """Convert `{rank}_centers.param` and `{rank}_centers_mom.param` of the published system.

    Its ranks have ceil(N / S) rows each, so the last ones have rows of no class, which are dropped. Without files of
    momentum, the momentum is 0.

    Args:
        folder: of these files.
        out: folder for the new files, which has no centers yet.
        num_classes: N, the true number of classes.
        progress: wraps the iteration over the ranks.

    Raises:
        InputError: missing or damaged files, or a number of rows that does not match the number of classes.
    """
    paths = [os.path.join(folder, f"{rank}_centers.param") for rank in range(_count_originals(folder))]
    shape = _load_original(paths[0]).shape
    num_local = -(-num_classes // len(paths))
    if shape[0] != num_local:
        raise InputError(
            f"{folder}: {len(paths)} files of {shape[0]} rows have {len(paths) * (shape[0] - 1) + 1} to "
            f"{len(paths) * shape[0]} classes, not {num_classes}: give the true number, or add the missing files"
        )

    def blocks() -> Iterator[Block]:
        for rank, path in enumerate(progress(paths)):
            start = rank * num_local
            rows = max(0, min(num_local, num_classes - start))
            mom_path = path.replace("_centers.param", "_centers_mom.param")
            weight = _load_original(path, shape)
            weight_mom = _load_original(mom_path, shape) if os.path.exists(mom_path) else np.zeros_like(weight)
            yield start, weight[:rows], weight_mom[:rows]

    write_all(out, num_classes, shape[1], blocks())


def _count_originals(folder: str) -> int:
    """Number of ranks whose files are in a folder."""
    names = map(os.path.basename, glob.glob(os.path.join(glob.escape(folder), "*_centers.param")))
    ranks = sorted(int(match[1]) for match in (re.match(r"(\d+)_centers\.param$", name) for name in names) if match)
    if not ranks or ranks != list(range(len(ranks))):
        found = f"files of the ranks {ranks}" if ranks else "no files"
        raise InputError(f"{folder}: {found} RANK_centers.param, expected 0, 1, 2 ... without a gap")
    return len(ranks)


def _load_original(path: str, shape: Optional[Tuple[int, ...]] = None) -> np.ndarray:
    arrays = load_ndarrays(path)
    if len(arrays) != 1 or isinstance(arrays, dict):
        raise InputError(f"{path}: expected a file with one MXNet array without a name")
    values = arrays[0].asnumpy()
    if values.ndim != 2 or shape not in (None, values.shape):
        raise InputError(f"{path}: has shape {values.shape}, expected {shape or 'two dimensions'}")
    return finite_rows(path, values)


def check_classes(source: str, found: int, num_classes: Optional[int]) -> None:
    """Raise InputError if a source of `found` classes should have another number of them; None: any number."""
    if num_classes not in (None, found):
        raise InputError(f"{source}: has {found} classes, not {num_classes}")


def import_numpy(path: str, out: str, progress: Progress = iter, num_classes: Optional[int] = None) -> None:
    """Convert NAME.npy (N, D), and NAME_mom.npy beside it if it exists; otherwise the momentum is 0.

    Args:
        path: of NAME.npy.
        out: folder for the new files, which has no centers yet.
        progress: wraps the iteration over the blocks.
        num_classes: N, if it is known.

    Raises:
        InputError: a file that is not a float array of two dimensions, a momentum of another shape, or another N.
    """
    weight = open_matrix(path, "centers")
    check_classes(path, weight.shape[0], num_classes)
    mom_path = re.sub(r"\.npy$", "", path) + "_mom.npy"
    weight_mom = open_matrix(mom_path, "centers") if os.path.exists(mom_path) else None
    if weight_mom is not None and weight_mom.shape != weight.shape:
        raise InputError(f"{mom_path}: has shape {weight_mom.shape}, the centers have {weight.shape}")

    def blocks() -> Iterator[Block]:
        for rows in progress(row_blocks(*weight.shape)):
            block = np.asarray(weight[rows], np.float32)
            mom = np.zeros_like(block) if weight_mom is None else np.asarray(weight_mom[rows], np.float32)
            yield rows.start, finite_rows(path, block, rows.start), finite_rows(mom_path, mom, rows.start)

    write_all(out, weight.shape[0], weight.shape[1], blocks())


def finite_rows(path: str, rows: np.ndarray, start: int = 0) -> np.ndarray:
    """The rows (n, D) from row `start` of a file on; raises InputError naming the first one that is not finite."""
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(wrong):
        raise InputError(f"{path}: row {start + wrong[0]} has numbers that are not finite")
    return rows


def export_original(folder: str, out: str, world_size: int, progress: Progress = iter) -> None:
    """Write `{rank}_centers.param` and `{rank}_centers_mom.param` of the published system.

    Every rank gets ceil(N / S) rows; as there, rows of no class are random initial centers. That system has no AdamW:
    the momentum of centers that were trained with it is 0.

    Args:
        folder: of centers, see CenterFiles.
        out: folder for the new files.
        world_size: S, the number of ranks that will read them.
        progress: wraps the iteration over the ranks.

    Raises:
        InputError: more elements per rank than an MXNet array can hold; missing classes.
    """
    with new_folder(out, "*_centers.param"):
        for rank in progress(range(world_size)):
            export_rank(folder, out, rank, world_size)


def export_rank(folder: str, out: str, rank: int, world_size: int) -> None:
    """Write, or replace, the two files of one rank; see `export_original` for the other arguments.

    Args:
        folder: of centers.
        out: an existing folder.
        rank: from 0 to world_size - 1.
        world_size: S.

    Raises:
        InputError: as `export_original`; no room in `out` for the two files twice.
    """
    centers = CenterFiles(folder)
    num_local = -(-centers.num_classes // world_size)
    if num_local * centers.embedding_size >= 2**31:
        raise InputError(f"{num_local} rows per rank are more than an MXNet array can hold: use more ranks")
    start, end = (min(edge * num_local, centers.num_classes) for edge in (rank, rank + 1))
    # In files, as MXNet saves whole arrays only: a rank that trains may have no memory for its centers once more.
    weight, weight_mom = (file_array(out, num_local, centers.embedding_size) for _ in range(2))
    for first, *rows in centers.blocks(start, end):
        for array, block in zip((weight, weight_mom), rows if centers.states == CenterSGD.states else rows[:1]):
            array[first - start : first - start + len(block)] = block
    fill_initial_centers(weight[end - start :], rank * num_local + end - start, seed=0)
    for name, array in (("centers", weight), ("centers_mom", weight_mom)):
        path = os.path.join(out, f"{rank}_{name}.param")
        with atomic_path(path) as unfinished, naming(path, mx.base.MXNetError):
            mx.nd.save(unfinished, ndarray_over(array))


def export_numpy(folder: str, out: str, progress: Progress = iter) -> None:
    """Write `centers.npy`, and `centers_mom.npy` or for AdamW `centers_mean.npy` and `centers_var.npy`.

    All are float32 (N, D); see `export_original` for the arguments.

    Raises:
        InputError: missing classes.
    """
    centers = CenterFiles(folder)
    shape = centers.num_classes, centers.embedding_size
    with new_folder(out, "centers*.npy"):
        for index, name in enumerate(("weight", *centers.states), start=1):
            path = os.path.join(out, name.replace("weight", "centers") + ".npy")
            parts = (centers.blocks(rows.start, rows.stop) for rows in progress(row_blocks(*shape)))
            write_matrix(path, shape, (block[index] for part in parts for block in part))


def map_centers(
    folder: str, out: str, num_classes: int, pairs: np.ndarray, seed: int = 0, progress: Progress = iter
) -> None:
    """Write centers for other identities: those in both sets keep center and state, new ones get initial centers.

    Where several old identities become one, it keeps center and state of the first of them.

    Args:
        folder: of centers, see CenterFiles.
        out: folder for the new files, which has no centers yet.
        num_classes: number of identities in the new set.
        pairs: (n, 2) int64, new and old label of every identity in both sets; several may have one new label.
        seed: of the initial centers.
        progress: wraps the iteration over the blocks.

    Raises:
        InputError: a label out of range, or an old one in two pairs.
    """
    centers = CenterFiles(folder)
    of_new, of_old = ("new", "the new set", num_classes), ("old", folder, centers.num_classes)
    for column, (name, of, count) in enumerate((of_new, of_old)):
        labels = pairs[:, column]
        wrong = labels[(labels < 0) | (labels >= count)]
        if len(wrong):
            raise InputError(f"{name} label {wrong[0]}: {of} has {count} classes, 0 to {count - 1}")
    if len(np.unique(pairs[:, 1])) < len(pairs):
        raise InputError(f"old label {np.flatnonzero(np.bincount(pairs[:, 1]) > 1)[0]} is repeated")
    old_labels = np.full(num_classes, -1)
    new, first = np.unique(pairs[:, 0], return_index=True)
    old_labels[new] = pairs[first, 1]

    def blocks() -> Iterator[Block]:
        for rows in progress(row_blocks(num_classes, centers.embedding_size)):
            shape = rows.stop - rows.start, centers.embedding_size
            arrays = [np.zeros(shape, np.float32) for _ in ("weight", *centers.states)]
            fill_initial_centers(arrays[0], rows.start, seed)
            kept = np.flatnonzero(old_labels[rows] >= 0)
            if len(kept):
                for array, values in zip(arrays, centers.take(old_labels[rows][kept])):
                    array[kept] = values
            yield (rows.start, *arrays)

    write_all(out, num_classes, centers.embedding_size, blocks(), centers.states)


def write_all(
    out: str, num_classes: int, embedding_size: int, blocks: Iterable[Block], states: Sequence[str] = CenterSGD.states
) -> None:
    """Write all centers as one file, which appears when it is complete, into a folder that has none yet."""
    with new_folder(out, "centers-*.safetensors"), atomic_path(os.path.join(out, centers_file(0, 1))) as unfinished:
        write_centers(unfinished, 0, num_classes, num_classes, embedding_size, blocks, states)


@contextlib.contextmanager
def new_folder(out: str, pattern: str) -> Iterator[None]:
    """Context with the lock of a folder that has no files of the pattern yet, not even unfinished ones."""
    os.makedirs(out, exist_ok=True)
    with Lock(os.path.join(out, LOCK)):
        if glob.glob(os.path.join(glob.escape(out), pattern)):
            raise InputError(f"{out}: already has {pattern}; name another folder")
        remove_unfinished(out, pattern)
        yield
