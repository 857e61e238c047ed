"""Softmax cross-entropy over logits whose columns lie on many ranks: exact, with one small collective.

Each rank takes the softmax of its own columns, the targets left out. An all-gather of (local log-sum-exp, target
logit), two numbers a sample and rank, then gives every rank the log-sum-exp over all columns. The step from the local
to the global softmax is one factor a row, which belongs on the small side of the products that follow.

The target stays out of the local sums because a trained model puts nearly all probability there: with
x = logsumexp of the others - target logit, the loss log(1 + e^x) and the target's gradient -1 / (1 + e^-x) keep all
their digits, where the differences lse - target and p - 1 would cancel.
"""

from typing import NamedTuple

import mxnet as mx

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


class SoftmaxGradient(NamedTuple):
    """d loss / d logits in factors: `row_scale * probabilities`, and `target` at the target entries.

    Attributes:
        probabilities: (B, C) softmax over this rank's columns but the target, 0 there; in the memory of the logits.
        row_scale: (B, 1) the step to the softmax over all ranks' columns, times the 1 / B of the mean.
        target: (B, 1) derivative with respect to the target logit; 0 where the target is on another rank.
    """

    probabilities: mx.nd.NDArray
    row_scale: mx.nd.NDArray
    target: mx.nd.NDArray


def parallel_softmax(logits, target_logit, targets, comm):
    """Mean over the batch of (logsumexp over all ranks' columns - target logit), and its gradient.

    Args:
        logits: (B, C) float32, this rank's columns; overwritten. The entries of the targets do not matter.
        target_logit: (B,) logits of the targets, with margin; 0 where the target is on another rank.
        targets: ShardTargets.
        comm: communicator.

    Returns:
        Loss (1,), bit-equal on every rank, and its SoftmaxGradient.
    """
    batch_size = logits.shape[0]
    kept = mx.nd.pick(logits, targets.columns, axis=1)
    set_entries(logits, targets, mx.nd.where(targets.is_local, mx.nd.full(kept.shape, _EXCLUDED, kept.context), kept))
    lse_local = _softmax_inplace(logits)
    loss, lse, target_grad = combine(lse_local, target_logit, comm)
    row_scale = mx.nd.exp(lse_local - lse) / batch_size
    target_grad = target_grad * targets.is_local / batch_size
    return loss, SoftmaxGradient(logits, row_scale.reshape((-1, 1)), target_grad.reshape((-1, 1)))


def no_columns(batch_size, ctx):
    """(local log-sum-exp, target logit) of a rank that has no columns, two (B,) arrays for `combine`."""
    return mx.nd.full((batch_size,), _EXCLUDED, ctx), mx.nd.zeros((batch_size,), ctx)


def combine(lse_local, target_logit, comm):
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


def set_entries(matrix, targets, values):
    """matrix[i, columns[i]] = values[i], in place."""
    matrix[mx.nd.arange(matrix.shape[0], ctx=matrix.context, dtype="int64"), targets.columns] = values


def _softmax_inplace(logits):
    """Replace the logits (B, C) by their softmax; returns their log-sum-exp (B,).

    It follows from one column, z - log(softmax(z)), here the row's largest, whose probability of at least 1 / C cannot
    underflow. Going over `max`, `exp` and `sum` takes about ten times as long on a CPU.
    """
    column = mx.nd.argmax(logits, axis=1)
    logits_max = mx.nd.pick(logits, column, axis=1)
    mx.nd.softmax(logits, axis=1, out=logits)
    return logits_max - mx.nd.log(mx.nd.pick(logits, column, axis=1))


def _log_sum_exp(values):
    """Log-sum-exp over the first axis of (n, B)."""
    largest = mx.nd.max(values, axis=0)
    return largest + mx.nd.log(mx.nd.sum(mx.nd.exp(mx.nd.broadcast_sub(values, largest.expand_dims(0))), axis=0))


def _softplus(x):
    """log(1 + e^x) without overflow."""
    return mx.nd.relu(x) + mx.nd.log1p(mx.nd.exp(-mx.nd.abs(x)))
