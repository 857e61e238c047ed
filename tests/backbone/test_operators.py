"""Operators that are replaced on a CPU: values and gradients of the originals."""

import json

import mxnet as mx
import numpy as np
import pytest
from numpy.linalg import norm

from partial_fc.backbone.fast import fast_symbol


def compute(symbol, arrays, grad):
    """Output and gradients by name of a symbol, NumPy arrays in the type of `grad`."""
    executor = symbol.bind(
        mx.cpu(),
        {name: mx.nd.array(array, dtype=grad.dtype) for name, array in arrays.items()},
        {name: mx.nd.zeros(array.shape, dtype=grad.dtype) for name, array in arrays.items()},
    )
    output = executor.forward(is_train=True)[0]
    executor.backward([mx.nd.array(grad, dtype=grad.dtype)])
    return output.asnumpy(), {name: array.asnumpy() for name, array in executor.grad_dict.items()}


def prelu(data, gamma=None):
    return mx.sym.LeakyReLU(data, mx.sym.Variable("gamma") if gamma is None else gamma, act_type="prelu", name="p")


def operators(symbol):
    return [node["op"] for node in json.loads(symbol.tojson())["nodes"]]


@pytest.mark.parametrize(
    "shape", [(2, 3, 7, 5), (1, 3, 112, 112), (3, 1, 9, 9), (1, 1, 1, 1), (5, 17, 1, 1), (4, 64, 13, 3)]
)
def test_prelu_equals_the_original(shape):
    draw = np.random.RandomState(0)
    arrays = {"images": draw.randn(*shape), "gamma": draw.randn(shape[1])}  # slopes of both signs
    arrays["images"].flat[0] = 0
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    grad = draw.randn(*shape)
    symbol = prelu(mx.sym.Variable("images", shape=shape))
    fast = fast_symbol(symbol, mx.cpu())
    assert "LeakyReLU" in operators(symbol) and "LeakyReLU" not in operators(fast)
    output, gradients = compute(fast, arrays, grad.astype(np.float32))
    expected_output, expected = compute(symbol, arrays, grad)
    assert norm(output - expected_output) <= 1e-6 * norm(expected_output)
    # MXNet's PReLU in float64 is the truth: in float32 its own sums are no better than ours.
    for name in arrays:
        assert norm(gradients[name] - expected[name]) <= 1e-5 * norm(expected[name]), name


def two_prelus(images, slopes, grad):
    """prelu(prelu(x) - 1 / 4) and its gradients, in NumPy."""
    slope = slopes[:, None, None]
    first = np.where(images > 0, images, slope * images) - 0.25
    second = np.where(first > 0, first, slope * first)
    grad_first = np.where(first > 0, grad, slope * grad)
    grad_slopes = grad * np.minimum(first, 0) + grad_first * np.minimum(images, 0)
    grads = {"images": np.where(images > 0, grad_first, slope * grad_first), "gamma": grad_slopes.sum((0, 2, 3))}
    return second, grads


@pytest.mark.parametrize("head", [None, "slopes"])
def test_slopes_may_be_computed_and_shared(head):
    """Slopes that are an expression, and that two PReLUs read: the gradient is the sum of both."""
    shape, draw = (2, 6, 5, 5), np.random.RandomState(1)
    gamma = mx.sym.Variable("gamma", shape=(6,))
    slopes = gamma * 0.5 if head else gamma
    first = prelu(mx.sym.Variable("images", shape=shape), slopes)
    symbol = mx.sym.LeakyReLU(first - 0.25, slopes, act_type="prelu", name="q")
    arrays = {"images": draw.randn(*shape), "gamma": draw.rand(6)}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    fast, grad = fast_symbol(symbol, mx.cpu()), draw.randn(*shape).astype(np.float32)
    assert "LeakyReLU" not in operators(fast)
    output, gradients = compute(fast, arrays, grad)
    expected_output, expected = two_prelus(arrays["images"], arrays["gamma"] * (0.5 if head else 1), grad)
    expected["gamma"] *= 0.5 if head else 1
    assert norm(output - expected_output) <= 1e-5 * norm(expected_output)
    for name in arrays:
        assert norm(gradients[name] - expected[name]) <= 1e-5 * norm(expected[name]), name


@pytest.mark.parametrize(
    "symbol",
    [
        prelu(mx.sym.Variable("data"), mx.sym.Variable("gamma", shape=(1,))),  # one slope for all channels
        prelu(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=8)),
        prelu(mx.sym.Reshape(mx.sym.Variable("data"), shape=(0, -1, 4, 4))),  # channels depend on the size
        mx.sym.LeakyReLU(mx.sym.Variable("data"), act_type="leaky"),
    ],
)
def test_other_activations_stay(symbol):
    fast = fast_symbol(symbol, mx.cpu())
    assert "LeakyReLU" in operators(fast)
    shape = (2, 3, 8, 8)
    assert fast.infer_shape(data=shape) == symbol.infer_shape(data=shape)
