"""Pairs of classes whose unit vectors are close: all products, tile by tile, so that any number of classes fits."""

import contextlib
import logging
import threading
from typing import Iterator, List, Optional, Tuple

import numpy as np

from ..checkpoint.center_files import row_blocks
from ..data.parallel import ordered_map
from ..data.progress import Progress
from ..errors import InputError
from .clusters import NONE_APART
from .nearest import Nearest, Pairs
from .vectors import Vectors

log = logging.getLogger("partial_fc")

# Vectors in a tile of products (8 MB): large enough for the product to be fast, small enough for the cache.
_TILE = 1024, 2048


def close_pairs(
    vectors: Vectors,
    threshold: float,
    most: int,
    others: Optional[Vectors] = None,
    apart: np.ndarray = NONE_APART,
    workers: int = 1,
    progress: Progress = iter,
) -> Pairs:
    """The pairs of classes whose cosine is at least `threshold`, for each class those with its closest neighbors.

    The cosine of two classes with several vectors is that of the two closest ones. All pairs are compared, in float32.
    Memory: two blocks of 16 MB and a tile of 8 MB per worker, and what `Nearest` takes.

    Args:
        vectors: of n classes.
        threshold: cosine, above 0 and at most 1.
        most: k, neighbors of a class that are kept; a pair is in the result if either class is among the k closest of
            the other.
        others: of m classes with which the n are compared; None: the n are compared with each other.
        apart: places of pairs to leave out, (p, 2) int64; they are among no class's k closest.
        workers: threads.
        progress: wraps the iteration over pairs of blocks.

    Returns:
        Places of the classes (`second` in `others`, if they are given).

    Raises:
        InputError: the threshold is out of range, the two kinds of vectors differ in size, or as `Vectors.unit` and
            `Nearest.pairs`.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"`threshold` {threshold:g}: expected a cosine above 0 and at most 1")
    if others is not None and others.size != vectors.size:
        raise InputError(f"vectors of {vectors.size} numbers and of {others.size}: they are of different models")
    search = _Search(vectors, others, threshold, most, apart)
    tasks = search.tasks()
    results = ordered_map(search.run, tasks, workers)
    with contextlib.closing(results):
        for _ in zip(progress(tasks), results):
            pass
    first, second, cosine = search.best.pairs()
    log.info("%s pairs of classes have a cosine of %g or more", f"{len(first):,}", threshold)
    return Pairs(first, second - search.offset, cosine)


class _Search:
    """The blocks of a search, and what was found; threads run its tasks."""

    def __init__(
        self, vectors: Vectors, others: Optional[Vectors], threshold: float, most: int, apart: np.ndarray
    ) -> None:
        self._left, self._right, self._threshold = vectors, vectors if others is None else others, threshold
        self._symmetric = others is None
        self.offset = 0 if others is None else vectors.num_classes  # of the classes of `others` in `best`
        self.best, self._lock = Nearest(self.offset + self._right.num_classes, most), threading.Lock()
        self._apart = self._number(*(np.sort(apart, axis=1) if self._symmetric else apart).T)

    def _number(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """A number for each pair of classes, (m,) int64."""
        return first * self._right.num_classes + second

    def tasks(self) -> List[Tuple[slice, slice]]:
        """Blocks of classes to compare; of two blocks of the same classes the later one is on the right."""
        size = max(each.num_each * each.size for each in (self._left, self._right))
        left, right = (row_blocks(each.num_classes, size) for each in (self._left, self._right))
        return [(rows, columns) for rows in left for columns in right if self._has_pairs(rows.start, columns.stop)]

    def _has_pairs(self, first_row: int, end_column: int) -> bool:
        """Whether a block has pairs to compare: of two of the same classes, those with the later class on the right."""
        return not self._symmetric or first_row < end_column - 1

    def run(self, task: Tuple[slice, slice]) -> None:
        """Compare two blocks, and add the pairs that are close enough."""
        rows, columns = task
        left = self._left.unit(rows)
        right = left if self._symmetric and rows == columns else self._right.unit(columns)
        for first, second, cosine in self._close(rows.start, left, columns.start, right):
            with self._lock:
                self.best.add(first, second + self.offset, cosine)

    def _close(
        self, start: int, left: np.ndarray, other_start: int, right: np.ndarray
    ) -> Iterator[Tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield classes, other classes and cosines of the close pairs in each tile of left @ right.T."""
        heights, widths = (max(1, tile // each.num_each) for tile, each in zip(_TILE, (self._left, self._right)))
        memory = np.empty(heights * self._left.num_each * widths * self._right.num_each, np.float32)
        close = np.empty(len(memory), bool)
        for rows in _slices(len(left), heights * self._left.num_each):
            for columns in _slices(len(right), widths * self._right.num_each):
                first = start + rows.start // self._left.num_each
                second = other_start + columns.start // self._right.num_each
                if not self._has_pairs(first, second + widths):
                    continue
                shape = rows.stop - rows.start, columns.stop - columns.start
                products, mask = (each[: shape[0] * shape[1]].reshape(shape) for each in (memory, close))
                np.matmul(left[rows], right[columns].T, out=products)
                found = np.flatnonzero(np.greater_equal(products, self._threshold, out=mask))
                if len(found):
                    row, column = np.divmod(found, shape[1])
                    row, column = first + row // self._left.num_each, second + column // self._right.num_each
                    yield self._strongest(row, column, products.reshape(-1)[found])

    def _strongest(
        self, first: np.ndarray, second: np.ndarray, cosine: np.ndarray
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each pair of two classes that are not apart once, with the largest of the cosines of their vectors."""
        kept = first < second if self._symmetric else np.ones(len(first), bool)
        if len(self._apart):
            kept &= ~np.isin(self._number(first, second), self._apart)
        first, second, cosine = first[kept], second[kept], cosine[kept]
        if self._left.num_each * self._right.num_each > 1:
            order = np.lexsort((-cosine, second, first))
            _, once = np.unique(self._number(first, second)[order], return_index=True)
            first, second, cosine = (each[order[once]] for each in (first, second, cosine))
        return first, second, cosine


def _slices(count: int, size: int) -> List[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
