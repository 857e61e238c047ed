import mxnet as mx
import numpy as np
import pytest

from partial_fc.head.normalize import l2_normalize, l2_normalize_backward, row_sum


def arrays(scale=1.0, shape=(7, 24)):
    random = np.random.RandomState(0)
    return (random.randn(*shape) * scale).astype(np.float32), random.randn(*shape).astype(np.float32)


def backward(x, grad):
    unit, inverse_norm = l2_normalize(mx.nd.array(x))
    return l2_normalize_backward(mx.nd.array(grad), unit, inverse_norm).asnumpy()


@pytest.mark.parametrize("shape", [(7, 24), (1, 1), (3, 1)])
def test_row_sum(shape):
    x, _ = arrays(shape=shape)
    sums = row_sum(mx.nd.array(x))
    assert sums.shape == (shape[0], 1)
    np.testing.assert_allclose(sums.asnumpy(), x.astype(np.float64).sum(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-10, 1e-3, 1.0, 1e10])
def test_rows_have_unit_length(scale):
    x, _ = arrays(scale)
    given = mx.nd.array(x)
    unit, inverse_norm = l2_normalize(given)
    norm = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(unit.asnumpy(), x / norm, rtol=1e-5)
    np.testing.assert_allclose(inverse_norm.asnumpy(), 1 / norm, rtol=1e-5)
    assert np.array_equal(given.asnumpy(), x)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_gradient_against_finite_differences(scale):
    x, grad = arrays(scale)
    exact, step = np.zeros(x.shape), 1e-6 * scale

    def value(points):
        return (points / np.linalg.norm(points, axis=1, keepdims=True) * grad).sum(axis=1)

    for column in range(x.shape[1]):
        moved = np.zeros(x.shape)
        moved[:, column] = step
        exact[:, column] = (value(x + moved) - value(x - moved)) / (2 * step)
    error = np.linalg.norm(backward(x, grad) - exact) / np.linalg.norm(exact)
    assert error < 1e-6


def test_gradient_is_orthogonal_to_the_row():
    x, grad = arrays()
    along = (backward(x, grad) * x).sum(axis=1)
    assert abs(along).max() < 1e-4


def test_rows_without_direction():
    x, grad = arrays()
    x[2], x[4] = 0, 1e-18
    unit, inverse_norm = l2_normalize(mx.nd.array(x))
    assert not unit.asnumpy()[[2, 4]].any() and not inverse_norm.asnumpy()[[2, 4]].any()
    result = backward(x, grad)
    assert not result[[2, 4]].any() and np.isfinite(result).all() and result[[0, 1, 3]].all()


def test_memory_of_the_gradient_is_reused():
    x, grad = arrays()
    unit, inverse_norm = l2_normalize(mx.nd.array(x))
    given = mx.nd.array(grad)
    assert l2_normalize_backward(given, unit, inverse_norm) is given
