"""Softmax cross-entropy over logits whose columns lie on many ranks: exact, with one small collective.

Each rank takes the softmax of its own columns, the targets left out. An all-gather of (local log-sum-exp, target
logit), two numbers per sample and rank, then gives every rank the log-sum-exp over all columns. The step from the local
to the global softmax is one factor per row, which belongs on the small side of the products that follow.

The target stays out of the local sums because a trained model puts nearly all probability there: with
x = logsumexp of the others - target logit, the loss log(1 + e^x) and the target's gradient -1 / (1 + e^-x) keep all
their digits, where the differences lse - target and p - 1 would cancel.
"""

from typing import NamedTuple, Tuple

import mxnet as mx

from .ranks import Ranks

# Stands for minus infinity: its exponential is 0 beside any logit, and differences of it are not NaN.
_EXCLUDED = -1e30


class ShardTargets(NamedTuple):
    """Where the targets of the global batch lie among this rank's columns.

    Attributes:
        columns: (B,) int64 NDArray, the column of each sample's class; 0 where the class is on another rank.
        is_local: (B,) float32 NDArray, 1 where the class is on this rank, else 0.
    """

    columns: mx.nd.NDArray
    is_local: mx.nd.NDArray


class ShardSoftmax(NamedTuple):
    """Softmax over this rank's columns, the targets left out.

    Attributes:
        probabilities: (B, C), 0 at the targets; in the memory of the logits, and of their dtype.
        log_divisor: (B,) logarithm of what the exponentials were divided by.
        lse: (B,) log-sum-exp of the columns; the same, but for the zero column of `shard_softmax`.
    """

    probabilities: mx.nd.NDArray
    log_divisor: mx.nd.NDArray
    lse: mx.nd.NDArray


def shard_softmax(logits: mx.nd.NDArray, targets: ShardTargets, has_zero_column: bool = False) -> ShardSoftmax:
    """What this rank can do before it knows of the others' columns.

    The log-sum-exp is read off one column, z - log(softmax(z)), as going over `max`, `exp` and `sum` takes ten times as
    long on a CPU. Without a zero column that is the row's largest, whose probability of at least 1 / C cannot
    underflow; to find it costs as much as the softmax.

    Args:
        logits: (B, C) float32, this rank's columns; overwritten. The entries of the targets do not matter.
        targets: ShardTargets.
        has_zero_column: the last column is of no class and holds zeros. With logits from -64 to 64 neither its
            probability, 1 / (1 + sum exp z), underflows, nor those of the others do all at once.

    Returns:
        ShardSoftmax.
    """
    kept = mx.nd.pick(logits, targets.columns, axis=1)
    excluded = mx.nd.full(kept.shape, _EXCLUDED, kept.context)
    set_entries(logits, targets, mx.nd.where(targets.is_local, excluded, kept))
    if not has_zero_column:
        column = mx.nd.argmax(logits, axis=1)
        logits_max = mx.nd.pick(logits, column, axis=1)
        mx.nd.softmax(logits, axis=1, out=logits)
        lse = logits_max - mx.nd.log(mx.nd.pick(logits, column, axis=1))
        return ShardSoftmax(logits, lse, lse)
    mx.nd.softmax(logits, axis=1, out=logits)
    log_divisor = -mx.nd.log(mx.nd.slice_axis(logits, axis=1, begin=-1, end=None).reshape((-1,)))
    share = _sum_of_classes(logits)  # of the columns of classes in the softmax; 0 if there are none but the target
    return ShardSoftmax(logits, log_divisor, mx.nd.where(share == 0, excluded, mx.nd.log(share) + log_divisor))


def _sum_of_classes(probabilities: mx.nd.NDArray) -> mx.nd.NDArray:
    """Sums (B,) over all columns but the last."""
    counts = mx.nd.ones((1, probabilities.shape[1]), ctx=probabilities.context)
    counts[0, -1] = 0
    return mx.nd.FullyConnected(probabilities, counts, no_bias=True, num_hidden=1, flatten=True).reshape((-1,))


def no_columns(batch_size: int, ctx: mx.Context) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
    """(local log-sum-exp, target logit) for `combine` of a rank without columns, two (B,) arrays."""
    return mx.nd.full((batch_size,), _EXCLUDED, ctx), mx.nd.zeros((batch_size,), ctx)


def combine(
    lse_local: mx.nd.NDArray, target_logit: mx.nd.NDArray, comm: Ranks
) -> Tuple[mx.nd.NDArray, mx.nd.NDArray, mx.nd.NDArray]:
    """The global softmax from every rank's share.

    The shares are added in the order of the ranks, so that every rank computes the same bits.

    Args:
        lse_local: (B,) log-sum-exp over this rank's columns but the targets.
        target_logit: (B,) logits of the targets; 0 where the target is on another rank.
        comm: communicator.

    Returns:
        Loss (1,), log-sum-exp over all columns (B,), derivative of each sample's loss by its target logit (B,).
    """
    shares = comm.all_gather(mx.nd.stack(lse_local, target_logit, axis=0), name="lse_target")
    shares = shares.reshape((-1, 2, lse_local.shape[0]))  # (world_size, 2, B)
    lse_others, total_target = _log_sum_exp(shares[:, 0]), mx.nd.sum(shares[:, 1], axis=0)
    excess = lse_others - total_target
    loss = mx.nd.mean(_softplus(excess))
    return loss, lse_others + _softplus(-excess), -mx.nd.sigmoid(excess)


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
