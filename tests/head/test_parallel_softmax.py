"""Loss and gradient over many shards against the dense softmax in float64."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.head.parallel_softmax import ShardTargets, combine, no_columns, set_entries, shard_softmax

from helpers.shards import Shards
from reference import relative_error

BATCH_SIZE = 9
every_split = pytest.mark.parametrize("split", [[31], [10, 31], [1, 2, 31], [0, 5, 5, 31], [7, 31, 31]], ids=str)


def problem(num_classes=31, scale=5.0, batch_size=BATCH_SIZE):
    random = np.random.RandomState(0)
    logits = (random.randn(batch_size, num_classes) * scale).astype(np.float32)
    return logits, random.randint(0, num_classes, batch_size)


def shard_targets(labels, start, end):
    inside = (labels >= start) & (labels < end)
    columns = np.where(inside, labels - start, 0)
    return ShardTargets(mx.nd.array(columns, dtype="int64"), mx.nd.array(inside, dtype="float32"))


def sharded(logits, labels, ends, seen=None, zero_column=False):
    """Loss and gradient by the logits (B, N), on one rank for each end of a range of columns."""
    starts = [0] + list(ends[:-1])
    target_logits = logits[np.arange(len(labels)), labels]
    seen = logits if seen is None else seen  # what stands in the matrix; the targets come from elsewhere

    def work(comm):
        start, end = starts[comm.rank], ends[comm.rank]
        if start == end:
            loss = combine(*no_columns(len(labels), mx.cpu()), comm).loss
            return loss.asnumpy(), np.zeros((len(labels), 0))
        targets = shard_targets(labels, start, end)
        target_logit = mx.nd.array(target_logits) * targets.is_local
        columns = np.pad(seen[:, start:end], ((0, 0), (0, int(zero_column))))
        shard = shard_softmax(mx.nd.array(columns), targets, zero_column)
        loss, lse, target_grad, _ = combine(shard.lse, target_logit, comm)
        probabilities = shard.probabilities.asnumpy()[:, : end - start].astype(np.float64)
        dense = probabilities * mx.nd.exp(shard.log_divisor - lse).asnumpy()[:, None]
        local = targets.is_local.asnumpy() > 0
        rows, columns = np.flatnonzero(local), targets.columns.asnumpy()[local]
        if end - start > 1:
            assert not dense[rows, columns].any(), "the targets have no share in the factors"
        dense[rows, columns] += target_grad.asnumpy()[local]
        return loss.asnumpy(), dense / len(labels)

    losses, parts = zip(*Shards(len(ends)).run(work))
    assert losses[0].shape == (1,) and len({loss.tobytes() for loss in losses}) == 1
    return losses[0], np.concatenate(parts, axis=1)


def dense(logits, labels):
    """The same in float64, without cancellation at the targets."""
    z, rows = logits.astype(np.float64), np.arange(len(labels))
    others = z.copy()
    others[rows, labels] = -np.inf
    excess = z - z[rows, labels][:, None]
    with np.errstate(divide="ignore"):
        lse = np.logaddexp.reduce(others, axis=1) - z[rows, labels]  # of the others, minus the target
    loss = np.logaddexp(0, lse).mean()
    grad = np.exp(excess - np.logaddexp(0, lse)[:, None])
    grad[rows, labels] = -np.exp(lse - np.logaddexp(0, lse))
    return loss, grad / len(labels)


@every_split
@pytest.mark.parametrize("zero_column", [False, True])
@pytest.mark.parametrize("scale", [0.1, 5.0, 60.0])
def test_equals_the_dense_softmax(split, scale, zero_column):
    logits, labels = problem(scale=scale)
    if zero_column:
        logits = logits.clip(-64, 64)
    loss, grad = sharded(logits, labels, split, zero_column=zero_column)
    exact_loss, exact_grad = dense(logits, labels)
    assert relative_error(loss, exact_loss) < 1e-5 and relative_error(grad, exact_grad) < 2e-5


@every_split
@pytest.mark.parametrize("level", [-64, 0, 64])
def test_zero_column_at_the_ends_of_the_range(split, level):
    logits, labels = problem()
    logits[:] = level
    logits[np.arange(len(labels)), labels] = np.linspace(-64, 64, len(labels))
    loss, grad = sharded(logits, labels, split, zero_column=True)
    exact_loss, exact_grad = dense(logits, labels)
    assert relative_error(loss, exact_loss) < 1e-5 and relative_error(grad, exact_grad) < 2e-5


@every_split
@pytest.mark.parametrize("zero_column", [False, True])
def test_small_losses_keep_their_digits(split, zero_column):
    logits, labels = problem(scale=1.0)
    logits[np.arange(len(labels)), labels] += 40
    loss, grad = sharded(logits, labels, split, zero_column=zero_column)
    exact_loss, exact_grad = dense(logits, labels)
    assert exact_loss < 1e-12
    assert relative_error(loss, exact_loss) < 1e-4 and relative_error(grad, exact_grad) < 1e-4


@every_split
def test_entries_of_the_targets_do_not_matter(split):
    logits, labels = problem()
    other = logits.copy()
    other[np.arange(len(labels)), labels] = 1e4
    for result, expected in zip(sharded(logits, labels, split, seen=other), sharded(logits, labels, split)):
        assert np.array_equal(result, expected)


@pytest.mark.parametrize("zero_column", [False, True])
@pytest.mark.parametrize("ends", [[1], [1, 1], [0, 1]])
def test_one_class_has_no_loss_and_no_gradient(ends, zero_column):
    logits, labels = problem(num_classes=1)
    loss, grad = sharded(logits, labels, ends, zero_column=zero_column)
    assert loss == 0 and not grad.any()


def test_one_column_a_rank():
    logits, labels = problem(num_classes=3)
    loss, grad = sharded(logits, labels, [1, 2, 3])
    exact_loss, exact_grad = dense(logits, labels)
    assert relative_error(loss, exact_loss) < 1e-5 and relative_error(grad, exact_grad) < 1e-5


@pytest.mark.parametrize("ends", [[4], [1, 4], [2, 4]])
@pytest.mark.parametrize("gap", [200.0, 2000.0, -200.0, -2000.0])
def test_logits_far_apart_stay_finite(ends, gap):
    labels = np.zeros(3, int)
    logits = np.zeros((3, 4), np.float32)
    logits[:, 0] = gap
    logits[1, 2] = -gap
    loss, grad = sharded(logits, labels, ends)
    exact_loss, exact_grad = dense(logits, labels)
    assert np.isfinite(loss).all() and np.isfinite(grad).all()
    assert loss == pytest.approx(exact_loss, rel=1e-5, abs=1e-30)
    np.testing.assert_allclose(grad, exact_grad, rtol=1e-4, atol=1e-30)


@pytest.mark.parametrize("ends", [[5], [2, 5], [1, 2, 5]])
def test_minus_infinity_takes_no_part(ends):
    logits, labels = problem(num_classes=5)
    labels[:] = 0
    logits[:, 3] = -np.inf
    loss, grad = sharded(logits, labels, ends)
    kept = [0, 1, 2, 4]
    exact_loss, exact_grad = dense(logits[:, kept], labels)
    assert relative_error(loss, exact_loss) < 1e-5 and relative_error(grad[:, kept], exact_grad) < 1e-5
    assert not grad[:, 3].any()


def test_set_entries():
    matrix = mx.nd.zeros((3, 4))
    set_entries(matrix, ShardTargets(mx.nd.array([2, 0, 2], dtype="int64"), None), mx.nd.array([1, 2, 3]))
    assert matrix.asnumpy().tolist() == [[0, 0, 1, 0], [2, 0, 0, 0], [0, 0, 3, 0]]
