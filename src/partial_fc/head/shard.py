"""The centers of one rank in an update, and their gradient so far."""

from typing import List, NamedTuple, Optional, Tuple, Union

import mxnet as mx
import numpy as np

from .memory_bank import Centers
from .negatives import NegativeLogits
from .parallel_softmax import ShardTargets, shard_targets
from .row_adder import RowAdder


class Shard(NamedTuple):
    """The centers of this rank in an update.

    Attributes:
        centers: `Centers` of this update.
        unit_weight: (C, K D) their unit vectors, with a last row of zeros if `has_zero_row`.
        inverse_norms: 1 / length of each center, by block (n K, 1).
        has_zero_row: see `shard_softmax`.
        num_update: the update, counted from 0.
        negatives: what happens to the logits of classes that are not a sample's own.
        targets, adder: where the targets of the current micro-batch are.
        grad_unit, target_sums, gain, scale: the gradient by the unit vectors is `scale` / `gain` times the sum of
            `grad_unit` (C, K D) and, at the targets' rows, `target_sums` (n, K D).
    """

    centers: Centers
    unit_weight: mx.nd.NDArray
    inverse_norms: List[mx.nd.NDArray]
    has_zero_row: bool
    num_update: int
    negatives: NegativeLogits
    targets: ShardTargets
    adder: RowAdder
    grad_unit: mx.nd.NDArray = None
    target_sums: Optional[mx.nd.NDArray] = None
    gain: Union[float, mx.nd.NDArray] = 1.0
    scale: float = 1.0

    def at(self, columns: np.ndarray) -> "Shard":
        """The same centers for the samples of a further micro-batch, see `place`."""
        targets, adder = place(columns, self.unit_weight.context)
        return self._replace(targets=targets, adder=adder)


def place(columns: np.ndarray, ctx: mx.Context) -> Tuple[ShardTargets, RowAdder]:
    """Where the targets of a batch are, from its columns (B,) int64, -1 for the classes of other ranks."""
    return shard_targets(columns, ctx), RowAdder(columns, ctx)
