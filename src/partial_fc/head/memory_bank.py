"""This rank's slice of the class centers and of the optimizer's state."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, List, Optional, Sequence, Tuple

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
        arrays: the centers and each array of the optimizer's state, (num_local, D) NDArrays.
        rows: (C,) int64 distinct rows of them; None for all in order, which are worked on in place.
    """

    def __init__(self, arrays: Sequence[mx.nd.NDArray], rows: Optional[np.ndarray] = None) -> None:
        self._arrays, weight = arrays, arrays[0]
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
        return self._get(self._arrays[0], block, workspace, "weight_block")

    def states(self, block: slice, workspace: Workspace) -> List[mx.nd.NDArray]:
        """The optimizer's state of a block, arrays (n, D), likewise."""
        return [
            self._get(array, block, workspace, f"state_block_{index}") for index, array in enumerate(self._arrays[1:])
        ]

    def put(self, block: slice, weight: mx.nd.NDArray, *states: mx.nd.NDArray) -> None:
        """Store the arrays that `weight` and `states` returned for a block, after they were changed in place."""
        if self._rows is not None:
            for array, rows in zip(self._arrays, (weight, *states)):
                array[self._rows[block]] = rows

    def _get(self, array: mx.nd.NDArray, block: slice, workspace: Workspace, name: str) -> mx.nd.NDArray:
        if self._rows is None:
            return array[block]
        out = workspace.array(name, (block.stop - block.start, self.embedding_size))
        return mx.nd.take(array, self._rows[block], out=out)


class MemoryBank:
    """Centers `weight` (num_local, D), float32 on `ctx`, of this rank's classes, and the optimizer's state of them.

    Args:
        num_classes: N, classes on all ranks.
        embedding_size: D.
        sample_ratio: r in (0, 1], the share of the centers that takes part in a step.
        comm: communicator, or anything with `rank` and `world_size`.
        ctx: device that holds the bank.
        seed: of the initial centers and of the sampling.
        states: names of the arrays of the optimizer's state, see `CenterSGD`; they begin with 0.

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
        states: Sequence[str] = ("weight_mom",),
    ) -> None:
        if not 0 < sample_ratio <= 1:
            raise ValueError(f"sample_ratio must lie in (0, 1], not {sample_ratio!r}")
        self.num_classes, self.embedding_size = num_classes, embedding_size
        self.sample_ratio, self.seed, self.rank = sample_ratio, seed, comm.rank
        self.partition = partition(num_classes, comm.world_size, comm.rank)
        self.ctx = ctx or mx.cpu()
        self.states = tuple(states)
        self._arrays: List[mx.nd.NDArray] = []  # centers and state
        self._host_arrays: List[np.ndarray] = []  # the same memory, where the device is the host's
        if self.num_local:  # with fewer classes than ranks, some ranks hold none
            self._make_centers()

    @property
    def weight(self) -> mx.nd.NDArray:
        """The centers on the device; None where there are none, or they are on the host."""
        return self._arrays[0] if self._arrays else None

    @property
    def weight_mom(self) -> mx.nd.NDArray:
        """The momentum of SGD, likewise."""
        return self._arrays[1 + self.states.index("weight_mom")] if self._arrays else None

    def _make_centers(self) -> None:
        """Initial `weight`, and state of zeros, on the device."""
        start, shape = self.partition.class_start, (self.num_local, self.embedding_size)
        if self.ctx.device_type == "cpu":
            self._host_arrays = [memory_array(*shape) for _ in ("weight", *self.states)]
            fill_initial_centers(self._host_arrays[0], start, self.seed)
            self._arrays = [self._to_device(array) for array in self._host_arrays]
            return
        self._arrays = [mx.nd.zeros(shape, self.ctx) for _ in ("weight", *self.states)]
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
        return Centers(self._arrays, rows)

    def to_numpy(self, rows: Any = ...) -> Tuple[np.ndarray, ...]:
        """Rows (n, D) of `weight` and each state after all updates so far; read-only, valid until the next update."""
        if not self._host_arrays:
            return tuple(array[rows].asnumpy() for array in self._arrays)
        for array in self._arrays:
            array.wait_to_read()
        return tuple(array[rows] for array in self._host_arrays)

    def set(self, class_start: int, weight: np.ndarray, *states: np.ndarray) -> None:
        """Overwrite the centers and the optimizer's state of the classes from `class_start` on.

        Args:
            weight: (n, D) float32 array, each of `states` likewise; all n classes must be on this rank.

        Raises:
            ValueError: if they are not, or number or shapes of the arrays do not fit.
        """
        rows = self._rows_of(class_start, weight, *states)
        if len(weight):
            for array, values in zip(self._arrays, (weight, *states)):
                array[rows] = values

    def _rows_of(self, class_start: int, weight: np.ndarray, *states: np.ndarray) -> slice:
        """Slice of the rows which `set` may overwrite."""
        start = class_start - self.partition.class_start
        end = start + len(weight)
        if not 0 <= start <= end <= self.num_local:
            raise ValueError(
                f"classes [{class_start}, {class_start + len(weight)}) do not lie in this rank's "
                f"[{self.partition.class_start}, {self.partition.class_end})"
            )
        shapes = [array.shape for array in (weight, *states)]
        if shapes != [(end - start, self.embedding_size)] * (1 + len(self.states)):
            raise ValueError(
                f"centers and state of the shapes {', '.join(map(str, shapes))}, where {1 + len(self.states)} arrays "
                f"(n, {self.embedding_size}) were expected"
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
