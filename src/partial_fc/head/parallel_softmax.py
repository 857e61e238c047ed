"""Softmax cross-entropy over logits whose columns lie on many ranks: exact, with one small collective.

Each rank takes the softmax of its own columns, the targets left out. An all-gather of (local log-sum-exp, target
logit), two numbers per sample and rank, then gives every rank the log-sum-exp over all columns. The step from the local
to the global softmax is one factor per row, which belongs on the small side of the products that follow.

The target stays out of the local sums because a trained model puts nearly all probability there: with
x = logsumexp of the others - target logit, the loss log(1 + e^x) and the target's gradient -1 / (1 + e^-x) keep all
their digits, where the differences lse - target and p - 1 would cancel.
"""

from typing import NamedTuple, Optional, Protocol, Tuple

import mxnet as mx
import numpy as np

from .ranks import Ranks

# Stands for minus infinity: its exponential is 0 beside any logit, and differences of it are not NaN.
EXCLUDED = -1e30


class ShardTargets(NamedTuple):
    """Where the targets of the global batch lie among this rank's columns.

    Attributes:
        columns: (B,) int64 NDArray, the column of each sample's class; 0 where the class is on another rank.
        is_local: (B,) float32 NDArray, 1 where the class is on this rank, else 0.
    """

    columns: mx.nd.NDArray
    is_local: mx.nd.NDArray


def shard_targets(columns: np.ndarray, ctx: mx.Context) -> ShardTargets:
    """`ShardTargets` on the device, from (B,) int64 columns with -1 for the classes of other ranks."""
    return ShardTargets(
        mx.nd.array(np.maximum(columns, 0), ctx=ctx, dtype="int64"), mx.nd.array(columns >= 0, ctx=ctx, dtype="float32")
    )


class SamplingWeights(NamedTuple):
    """Factors of a rank's exponentials, so that their sum estimates that over all of its classes.

    A class of the global batch is always there: its factor is 1. The other chosen ones are a random share q of the
    rank's other classes, (chosen - positives) / (classes - positives), and stand for 1 / q classes each. All factors
    here are multiplied by q, so that none exceeds 1.

    Attributes:
        relative: (1, C) float32, q at the classes of the global batch, 1 at the others, 0 at a zero column.
        log_inverse_rate: log(1 / q).
    """

    relative: mx.nd.NDArray
    log_inverse_rate: float


class OtherLogits(Protocol):
    """What happens to the logits of the classes that are not a sample's own; see `negatives.NegativeLogits`."""

    weights: Optional[SamplingWeights]

    def filter(self, logits: mx.nd.NDArray) -> Optional[mx.nd.NDArray]:
        """Change logits (n, C) before the softmax, in place; returns how many it filtered (n,), or None."""

    def finish(self, probabilities: mx.nd.NDArray) -> None:
        """Turn the softmax (n, C) into the gradient by the logits, in place."""


class ShardSoftmax(NamedTuple):
    """Softmax over this rank's columns, the targets left out.

    Attributes:
        probabilities: (B, C), 0 at the targets; in the memory of the logits, and of their dtype.
        log_divisor: (B,) logarithm of what the exponentials were divided by.
        lse: (B,) log-sum-exp of the columns; the same, but for the zero column of `shard_softmax`.
        num_filtered: (B,) filtered logits of each sample; None without filtering.
    """

    probabilities: mx.nd.NDArray
    log_divisor: mx.nd.NDArray
    lse: mx.nd.NDArray
    num_filtered: Optional[mx.nd.NDArray] = None


class GlobalSoftmax(NamedTuple):
    """The softmax over the columns of all ranks, bit-equal on every rank.

    Attributes:
        loss: (1,) mean over the samples.
        lse: (B,) log-sum-exp over all columns.
        target_grad: (B,) derivative of each sample's loss by its target logit.
        num_filtered: (1,) filtered logits in all; None without filtering.
    """

    loss: mx.nd.NDArray
    lse: mx.nd.NDArray
    target_grad: mx.nd.NDArray
    num_filtered: Optional[mx.nd.NDArray] = None


def shard_softmax(
    logits: mx.nd.NDArray, targets: ShardTargets, has_zero_column: bool = False, negatives: Optional[OtherLogits] = None
) -> ShardSoftmax:
    """What this rank can do before it knows of the others' columns.

    The log-sum-exp is read off one column, z - log(softmax(z)), as going over `max`, `exp` and `sum` takes ten times as
    long on a CPU. Without a zero column that is the row's largest, whose probability of at least 1 / C cannot
    underflow; to find it costs as much as the softmax.

    Args:
        logits: (B, C) float32, this rank's columns; overwritten. The entries of the targets do not matter.
        targets: ShardTargets.
        has_zero_column: the last column is of no class and holds zeros. With logits from -64 to 64 neither its
            probability, 1 / (1 + sum exp z), underflows, nor those of the others do all at once.
        negatives: what filters and weighs the logits of the other classes; None: nothing does.

    Returns:
        ShardSoftmax.
    """
    kept = mx.nd.pick(logits, targets.columns, axis=1)
    excluded = mx.nd.full(kept.shape, EXCLUDED, kept.context)
    set_entries(logits, targets, mx.nd.where(targets.is_local, excluded, kept))
    num_filtered = negatives.filter(logits) if negatives else None
    weights = negatives.weights if negatives else None
    log_divisor = _softmax(logits, has_zero_column)
    lse = log_divisor
    if has_zero_column or weights:
        counts = weights.relative if weights else _class_columns(logits)
        # Of the columns of classes in the softmax; 0 if there are none but the target.
        share = mx.nd.FullyConnected(logits, counts, no_bias=True, num_hidden=1, flatten=True).reshape((-1,))
        lse = mx.nd.where(share == 0, excluded, mx.nd.log(share) + log_divisor)
    if negatives:
        negatives.finish(logits)
    if weights:
        log_divisor, lse = log_divisor + weights.log_inverse_rate, lse + weights.log_inverse_rate
    return ShardSoftmax(logits, log_divisor, lse, num_filtered)


def _softmax(logits: mx.nd.NDArray, has_zero_column: bool) -> mx.nd.NDArray:
    """Softmax (B, C) in place; returns the logarithm (B,) of what the exponentials were divided by."""
    if has_zero_column:
        mx.nd.softmax(logits, axis=1, out=logits)
        return -mx.nd.log(mx.nd.slice_axis(logits, axis=1, begin=-1, end=None).reshape((-1,)))
    column = mx.nd.argmax(logits, axis=1)
    logits_max = mx.nd.pick(logits, column, axis=1)
    mx.nd.softmax(logits, axis=1, out=logits)
    return logits_max - mx.nd.log(mx.nd.pick(logits, column, axis=1))


def _class_columns(logits: mx.nd.NDArray) -> mx.nd.NDArray:
    """(1, C): 1 at all columns but the last."""
    counts = mx.nd.ones((1, logits.shape[1]), ctx=logits.context)
    counts[0, -1] = 0
    return counts


def no_columns(batch_size: int, ctx: mx.Context) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
    """(local log-sum-exp, target logit) for `combine` of a rank without columns, two (B,) arrays."""
    return mx.nd.full((batch_size,), EXCLUDED, ctx), mx.nd.zeros((batch_size,), ctx)


def combine(
    lse_local: mx.nd.NDArray, target_logit: mx.nd.NDArray, comm: Ranks, num_filtered: Optional[mx.nd.NDArray] = None
) -> GlobalSoftmax:
    """The global softmax from every rank's share.

    The shares are added in the order of the ranks, so that every rank computes the same bits.

    Args:
        lse_local: (B,) log-sum-exp over this rank's columns but the targets.
        target_logit: (B,) logits of the targets; 0 where the target is on another rank.
        comm: communicator.
        num_filtered: (B,) filtered logits of this rank's columns; None, on all ranks, without filtering.

    Returns:
        GlobalSoftmax.
    """
    own = [lse_local, target_logit] + ([] if num_filtered is None else [num_filtered])
    shares = comm.all_gather(mx.nd.stack(*own, axis=0), name="lse_target")
    shares = shares.reshape((-1, len(own), lse_local.shape[0]))  # (world_size, 2 or 3, B)
    lse_others, total_target = _log_sum_exp(shares[:, 0]), mx.nd.sum(shares[:, 1], axis=0)
    excess = lse_others - total_target
    loss = mx.nd.mean(_softplus(excess))
    total_filtered = None if num_filtered is None else mx.nd.sum(shares[:, 2]).reshape((1,))
    return GlobalSoftmax(loss, lse_others + _softplus(-excess), -mx.nd.sigmoid(excess), total_filtered)


def set_entries(matrix: mx.nd.NDArray, targets: ShardTargets, values: mx.nd.NDArray) -> None:
    """matrix[i, columns[i]] = values[i], in place."""
    matrix[mx.nd.arange(matrix.shape[0], ctx=matrix.context, dtype="int64"), targets.columns] = values


def _log_sum_exp(values: mx.nd.NDArray) -> mx.nd.NDArray:
    """Log-sum-exp over the first axis of (n, B)."""
    largest = mx.nd.max(values, axis=0)
    return largest + mx.nd.log(mx.nd.sum(mx.nd.exp(mx.nd.broadcast_sub(values, largest.expand_dims(0))), axis=0))


def _softplus(x: mx.nd.NDArray) -> mx.nd.NDArray:
    """log(1 + e^x) without overflow."""
    return mx.nd.relu(x) + mx.nd.log1p(mx.nd.exp(-mx.nd.abs(x)))
