"""This rank's slice of the class centers and of their momentum."""

import mxnet as mx
import numpy as np

from .partition import partition
from .randomness import generator
from .samplers import sample_rows

# Standard deviation of the initial centers, as published.
_INITIAL_STD = 0.01
# Classes whose initial centers come from one random stream. Part of what a seed means: not to be tuned.
_BLOCK = 4096


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

    def __init__(self, num_classes, embedding_size, comm, sample_ratio=1.0, ctx=None, seed=0):
        if not 0 < sample_ratio <= 1:
            raise ValueError(f"sample_ratio must lie in (0, 1], not {sample_ratio!r}")
        self.num_classes, self.embedding_size = num_classes, embedding_size
        self.sample_ratio, self.seed, self.rank = sample_ratio, seed, comm.rank
        self.partition = partition(num_classes, comm.world_size, comm.rank)
        self.weight = self.weight_mom = None
        if self.num_local:  # with fewer classes than ranks, some ranks hold none
            initial = initial_centers(self.partition.class_start, self.partition.class_end, embedding_size, seed)
            self.weight = mx.nd.array(initial, ctx=ctx, dtype="float32")
            self.weight_mom = mx.nd.zeros_like(self.weight)

    @property
    def num_local(self):
        """Classes on this rank."""
        return self.partition.num_local

    def sample(self, shard_labels, num_update):
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

    def get(self, rows=None):
        """Centers of the given rows, (C, D): a copy; for None the bank's own array, not a copy."""
        if rows is None:
            return self.weight
        return mx.nd.take(self.weight, mx.nd.array(rows, ctx=self.weight.context, dtype="int64"))

    def set(self, class_start, weight, weight_mom):
        """Overwrite the centers and the momentum of the classes from `class_start` on.

        Args:
            weight: (n, D) float32 array, `weight_mom` likewise; all n classes must be on this rank.

        Raises:
            ValueError: if they are not, or the shapes do not fit.
        """
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
        if end > start:
            self.weight[start:end] = weight
            self.weight_mom[start:end] = weight_mom


def initial_centers(class_start, class_end, embedding_size, seed):
    """Initial centers of the classes [class_start, class_end): a function of (seed, class id), whatever the ranks.

    Returns:
        (class_end - class_start, embedding_size) float32, normal with standard deviation 0.01.
    """
    centers = np.empty((class_end - class_start, embedding_size), np.float32)
    for block in range(class_start // _BLOCK, -(-class_end // _BLOCK)):
        random = generator(seed, "centers", block)
        block_start = block * _BLOCK
        low, high = max(class_start, block_start), min(class_end, block_start + _BLOCK)
        values = random.standard_normal((high - block_start, embedding_size), np.float32)
        centers[low - class_start : high - class_start] = values[low - block_start :]
    centers *= _INITIAL_STD
    return centers
