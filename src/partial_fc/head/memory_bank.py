"""This rank's slice of the class centers and of their momentum."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, List, Optional, Tuple

import mxnet as mx
import numpy as np

from ..limits import usable_cores
from ..randomness import generator
from .host_arrays import memory_array, ndarray_over
from .partition import partition
from .ranks import Ranks
from .samplers import sample_rows
from .workspace import Workspace

# Standard deviation of the initial centers, as published.
_INITIAL_STD = 0.01
# Classes whose initial centers come from one random stream. Part of what a seed means: not to be tuned.
_BLOCK = 4096
# Classes whose initial centers go to a GPU together.
_UPLOAD = 16 * _BLOCK
# Numbers in a block of a step's work on the centers: 4 MB, which a CPU's cache keeps from one operator to the next.
_STEP_BLOCK = 2**20


class Centers:
    """Rows of a bank that take part in a step, block by block.

    Args:
        weight: (num_local, D) NDArray, and `weight_mom` likewise.
        rows: (C,) int64 distinct rows of them; None for all in order, which are worked on in place.
    """

    def __init__(self, weight: mx.nd.NDArray, weight_mom: mx.nd.NDArray, rows: Optional[np.ndarray] = None) -> None:
        self._weight, self._weight_mom = weight, weight_mom
        self._num_rows, self.embedding_size = len(weight if rows is None else rows), weight.shape[1]
        self._rows = None if rows is None else mx.nd.array(rows, ctx=weight.context, dtype="int64")

    def __len__(self) -> int:
        return self._num_rows

    def blocks(self) -> List[slice]:
        """Slices of range(C), of 4 MB each."""
        size = max(1, _STEP_BLOCK // self.embedding_size)
        return [slice(start, min(start + size, len(self))) for start in range(0, len(self), size)]

    def weight(self, block: slice, workspace: Workspace) -> mx.nd.NDArray:
        """Centers (n, D) of a block; unless all rows take part, a copy in the Workspace."""
        return self._get(self._weight, block, workspace, "weight_block")

    def weight_mom(self, block: slice, workspace: Workspace) -> mx.nd.NDArray:
        """Momentum (n, D) of a block, likewise."""
        return self._get(self._weight_mom, block, workspace, "weight_mom_block")

    def put(self, block: slice, weight: mx.nd.NDArray, weight_mom: mx.nd.NDArray) -> None:
        """Store the arrays that `weight` and `weight_mom` returned for a block, after they were changed in place."""
        if self._rows is not None:
            self._weight[self._rows[block]] = weight
            self._weight_mom[self._rows[block]] = weight_mom

    def _get(self, array: mx.nd.NDArray, block: slice, workspace: Workspace, name: str) -> mx.nd.NDArray:
        if self._rows is None:
            return array[block]
        out = workspace.array(name, (block.stop - block.start, self.embedding_size))
        return mx.nd.take(array, self._rows[block], out=out)


class MemoryBank:
    """Centers `weight` (num_local, D) and momentum `weight_mom`, float32 on `ctx`, of this rank's classes.

    Args:
        num_classes: N, classes on all ranks.
        embedding_size: D.
        sample_ratio: r in (0, 1], the share of the centers that takes part in a step.
        comm: communicator, or anything with `rank` and `world_size`.
        ctx: device that holds the bank.
        seed: of the initial centers and of the sampling.

    Raises:
        ValueError: for a sample_ratio outside (0, 1].
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        comm: Ranks,
        sample_ratio: float = 1.0,
        ctx: Optional[mx.Context] = None,
        seed: int = 0,
    ) -> None:
        if not 0 < sample_ratio <= 1:
            raise ValueError(f"sample_ratio must lie in (0, 1], not {sample_ratio!r}")
        self.num_classes, self.embedding_size = num_classes, embedding_size
        self.sample_ratio, self.seed, self.rank = sample_ratio, seed, comm.rank
        self.partition = partition(num_classes, comm.world_size, comm.rank)
        self.ctx = ctx or mx.cpu()
        self.weight: mx.nd.NDArray = None
        self.weight_mom: mx.nd.NDArray = None
        self._host_weight: Any = None  # the same memory as NumPy arrays, where the device is the host's
        self._host_weight_mom: Any = None
        if self.num_local:  # with fewer classes than ranks, some ranks hold none
            self._make_centers()

    def _make_centers(self) -> None:
        """Initial `weight`, and `weight_mom` of zeros, on the device."""
        start = self.partition.class_start
        if self.ctx.device_type == "cpu":
            self._host_weight, self._host_weight_mom = (
                memory_array(self.num_local, self.embedding_size) for _ in range(2)
            )
            fill_initial_centers(self._host_weight, start, self.seed)
            self.weight, self.weight_mom = map(self._to_device, (self._host_weight, self._host_weight_mom))
            return
        self.weight, self.weight_mom = (mx.nd.zeros((self.num_local, self.embedding_size), self.ctx) for _ in range(2))
        for row in range(0, self.num_local, _UPLOAD):  # the host has no room for all ranks' centers at once
            centers = np.empty((min(_UPLOAD, self.num_local - row), self.embedding_size), np.float32)
            fill_initial_centers(centers, start + row, self.seed)
            self.weight[row : row + len(centers)] = centers

    def _to_device(self, array: np.ndarray) -> mx.nd.NDArray:
        """NDArray over the array's own memory if the device is the host's; else a copy."""
        if self.ctx.device_type == "cpu":
            return ndarray_over(array)
        return mx.nd.array(array, ctx=self.ctx, dtype="float32")

    @property
    def num_local(self) -> int:
        """Classes on this rank."""
        return self.partition.num_local

    def sample(self, shard_labels: np.ndarray, num_update: int) -> Optional[np.ndarray]:
        """Rows that take part in update `num_update`, a function of (seed, update, rank).

        Args:
            shard_labels: (B,) int64 labels of the global batch; -1 where the class lies on another rank.

        Returns:
            (C,) int64 ascending rows with every positive among them; None for the whole shard.
        """
        if self.sample_ratio == 1 or not self.num_local:
            return None
        positives = np.unique(shard_labels[shard_labels >= 0])
        random = generator(self.seed, "rows", num_update, self.rank)
        return sample_rows(positives, self.num_local, self.sample_ratio, random)

    def prefetch(self, rows: Optional[np.ndarray]) -> None:
        """Hint: the rows that the next step will request with `get`."""

    def get(self, rows: Optional[np.ndarray] = None) -> Centers:
        """`Centers` of the given rows, (C,) int64; None for all. Changes are kept once every block has been `put`."""
        return Centers(self.weight, self.weight_mom, rows)

    def to_numpy(self, rows: Any = ...) -> Tuple[np.ndarray, np.ndarray]:
        """Rows of `weight` and `weight_mom` (n, D) after all updates so far; read-only, valid until the next update."""
        if self._host_weight is None:
            return self.weight[rows].asnumpy(), self.weight_mom[rows].asnumpy()
        self.weight.wait_to_read()
        self.weight_mom.wait_to_read()
        return self._host_weight[rows], self._host_weight_mom[rows]

    def set(self, class_start: int, weight: np.ndarray, weight_mom: np.ndarray) -> None:
        """Overwrite the centers and the momentum of the classes from `class_start` on.

        Args:
            weight: (n, D) float32 array, `weight_mom` likewise; all n classes must be on this rank.

        Raises:
            ValueError: if they are not, or the shapes do not fit.
        """
        rows = self._rows_of(class_start, weight, weight_mom)
        if len(weight):
            self.weight[rows] = weight
            self.weight_mom[rows] = weight_mom

    def _rows_of(self, class_start: int, weight: np.ndarray, weight_mom: np.ndarray) -> slice:
        """Slice of the rows which `set` may overwrite."""
        start = class_start - self.partition.class_start
        end = start + len(weight)
        if not 0 <= start <= end <= self.num_local:
            raise ValueError(
                f"classes [{class_start}, {class_start + len(weight)}) do not lie in this rank's "
                f"[{self.partition.class_start}, {self.partition.class_end})"
            )
        if not weight.shape == weight_mom.shape == (end - start, self.embedding_size):
            raise ValueError(
                f"centers of shape {weight.shape} and momentum of shape {weight_mom.shape} "
                f"where (n, {self.embedding_size}) was expected"
            )
        return slice(start, end)


def fill_initial_centers(centers: np.ndarray, class_start: int, seed: int) -> None:
    """Write the initial centers of the classes from `class_start` on into `centers` (n, D) float32, on all cores.

    They are normal with standard deviation 0.01, a function of (seed, class id) alone, not of the number of ranks.
    """
    class_end = class_start + len(centers)

    def fill(block):
        random = generator(seed, "centers", block)
        start, end = block * _BLOCK, min((block + 1) * _BLOCK, class_end)
        skipped = max(class_start - start, 0)
        values = random.standard_normal((end - start, centers.shape[1]), np.float32)[skipped:]
        np.multiply(values, np.float32(_INITIAL_STD), out=centers[start + skipped - class_start : end - class_start])

    with ThreadPoolExecutor(usable_cores()) as pool:
        for _ in pool.map(fill, range(class_start // _BLOCK, -(-class_end // _BLOCK))):
            pass
