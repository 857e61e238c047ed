"""What the head asks of a communicator."""

from typing import Any, List, Optional, Protocol

import mxnet as mx
import numpy as np


class Ranks(Protocol):
    """The ranks over which the classes are spread; `partial_fc.connect` gives them, see `Communicator` there."""

    rank: int
    world_size: int

    def all_gather(self, array: mx.nd.NDArray, name: str) -> mx.nd.NDArray:
        """(n, ...) arrays of all ranks, (world_size * n, ...) in rank order."""

    def reduce_scatter(self, array: mx.nd.NDArray, name: str) -> mx.nd.NDArray:
        """Sum over the ranks of (world_size * n, ...) arrays; this rank's n rows of it."""

    def all_gather_host(self, array: np.ndarray) -> np.ndarray:
        """(n,) int64 arrays of all ranks, (world_size * n,) in rank order."""

    def all_gather_object(self, value: Any) -> List[Any]:
        """One value per rank; a value is anything that JSON can hold."""

    def agree(self, problem: Optional[str], status: int) -> None:
        """Raise CollectiveError on every rank if any of them has a problem."""
