"""The range of classes that a rank owns."""

from typing import NamedTuple

import numpy as np


class Partition(NamedTuple):
    """Half-open range [class_start, class_end) of the classes that one rank owns."""

    class_start: int
    class_end: int

    @property
    def num_local(self) -> int:
        """Number of classes in the range."""
        return self.class_end - self.class_start

    def shard_labels(self, labels: np.ndarray) -> np.ndarray:
        """Position of each label within the range.

        Args:
            labels: (n,) int64 class ids.

        Returns:
            (n,) int64; -1 where the class lies on another rank.
        """
        inside = (labels >= self.class_start) & (labels < self.class_end)
        return np.where(inside, labels - self.class_start, -1)


def partition(num_classes: int, world_size: int, rank: int) -> Partition:
    """The classes of `rank`: sizes differ by at most one, there are no phantom classes.

    Raises:
        ValueError: if there are no classes, or no such rank.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, not {num_classes}")
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} does not lie in [0, {world_size})")
    return Partition(rank * num_classes // world_size, (rank + 1) * num_classes // world_size)
