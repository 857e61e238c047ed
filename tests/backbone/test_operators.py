"""Operators that are replaced on a CPU: values and gradients of the originals."""

import json

import mxnet as mx
import numpy as np
import pytest
from numpy.linalg import norm

from benchmarks.measure import in_own_process
from partial_fc.backbone.fast import fast_symbol


def compute(symbol, arrays, grad, states=None):
    """Output and gradients by name of a symbol, NumPy arrays in the type of `grad`."""
    executor = symbol.bind(
        mx.cpu(),
        {name: mx.nd.array(array, dtype=grad.dtype) for name, array in arrays.items()},
        {name: mx.nd.zeros(array.shape, dtype=grad.dtype) for name, array in arrays.items()},
        aux_states={name: mx.nd.array(array, dtype=grad.dtype) for name, array in (states or {}).items()},
    )
    output = executor.forward(is_train=True)[0]
    executor.backward([mx.nd.array(grad, dtype=grad.dtype)])
    return output.asnumpy(), {name: array.asnumpy() for name, array in executor.grad_dict.items()}


def prelu(data, gamma=None):
    return mx.sym.LeakyReLU(data, mx.sym.Variable("gamma") if gamma is None else gamma, act_type="prelu", name="p")


PRELU = "LeakyReLU prelu"


def operators(symbol):
    """Names of the operators, of LeakyReLU with the kind."""
    nodes = json.loads(symbol.tojson())["nodes"]
    kinds = [node.get("attrs", {}).get("act_type", "") if node["op"] == "LeakyReLU" else "" for node in nodes]
    return [f"{node['op']} {kind}".strip() for node, kind in zip(nodes, kinds)]


ON_BOTH = pytest.mark.parametrize("precision", ["float32", "bfloat16"])


def assert_same(symbol, fast, arrays, grad, precision, states=None):
    """Outputs and gradients of a symbol in float64 and of a fast one."""
    output, gradients = compute(fast, arrays, grad.astype(np.float32), states)
    expected_output, expected = compute(symbol, arrays, grad, states)
    bound = {"float32": 1e-5, "bfloat16": 0.03}[precision]  # which of those near 0 are above it is rounded, too
    assert norm(output - expected_output) <= bound * norm(expected_output)
    for name in arrays:
        assert norm(gradients[name] - expected[name]) <= bound * norm(expected[name]), name


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
    assert PRELU in operators(symbol) and PRELU not in operators(fast)
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
    assert PRELU not in operators(fast)
    output, gradients = compute(fast, arrays, grad)
    expected_output, expected = two_prelus(arrays["images"], arrays["gamma"] * (0.5 if head else 1), grad)
    expected["gamma"] *= 0.5 if head else 1
    assert norm(output - expected_output) <= 1e-5 * norm(expected_output)
    for name in arrays:
        assert norm(gradients[name] - expected[name]) <= 1e-5 * norm(expected[name]), name


@pytest.mark.parametrize("mean", [-3, 0, 1, 3])
@pytest.mark.parametrize("precision, bound", [("float32", 1e-5), ("bfloat16", 0.01)])
def test_slopes_have_their_gradient_where_most_of_the_input_is_positive(precision, bound, mean):
    """At a mean of 3 one number in 740 is below 0: all that the gradient of the slopes consists of."""
    shape, draw = (8, 16, 28, 28), np.random.RandomState(2)
    images = mx.sym.Variable("images", shape=shape)
    bare = {"num_filter": 16, "num_group": 16, "kernel": (1, 1), "no_bias": True}
    one = mx.sym.ones((16, 1, 1, 1))  # convolutions that change nothing: what lies between them is in low precision
    symbol = mx.sym.Convolution(prelu(mx.sym.Convolution(images, one, **bare)), one, **bare)
    arrays = {"images": draw.randn(*shape) + mean, "gamma": draw.uniform(-0.5, 0.5, 16)}
    grad = draw.randn(*shape).astype(np.float32)
    output, gradients = compute(fast_symbol(symbol, mx.cpu(), precision), arrays, grad)
    expected, below = (grad * np.minimum(arrays["images"], 0)).sum((0, 2, 3)), arrays["images"] < 0
    assert norm(gradients["gamma"] - expected) <= bound * norm(expected)
    factors = np.where(below, arrays["gamma"][:, None, None], 1)
    for computed, original in ((output, arrays["images"]), (gradients["images"], grad)):
        assert norm(computed - factors * original) <= bound * norm(original)
    if precision == "bfloat16":  # above 0 the slope is 1: rounded numbers pass as they are
        arrays["images"] = np.round(4 * arrays["images"]) / 4
        output, _ = compute(fast_symbol(symbol, mx.cpu(), precision), arrays, grad)
        assert np.array_equal(output[~below], arrays["images"][~below])


@pytest.mark.parametrize("shape", [(3, 17), (1, 1), (6, 64), (4, 16, 5, 3), (2, 3, 9, 9)], ids=str)
@pytest.mark.parametrize("single", [False, True])
def test_prelu_of_any_layer_with_one_slope_or_many(shape, single):
    """Gluon's nn.PReLU has one slope for all channels."""
    draw = np.random.RandomState(3)
    gamma = mx.sym.Variable("gamma", shape=(1,)) if single else mx.sym.Variable("gamma")
    symbol = prelu(mx.sym.Variable("images", shape=shape), gamma)
    fast = fast_symbol(symbol, mx.cpu())
    assert PRELU not in operators(fast)
    assert fast.infer_shape() == symbol.infer_shape() and fast.list_outputs() == symbol.list_outputs()
    arrays = {"images": draw.randn(*shape), "gamma": draw.randn(1 if single else shape[1])}
    grad = draw.randn(*shape)
    output, gradients = compute(fast, arrays, grad.astype(np.float32))
    expected_output, expected = compute(symbol, arrays, grad)
    assert norm(output - expected_output) <= 1e-6 * norm(expected_output)
    for name in arrays:  # 1e-11: a 2^40th of what is above 0
        assert norm(gradients[name] - expected[name]) <= 1e-5 * norm(expected[name]) + 1e-11, name


def batch_norm(data, **attrs):
    return mx.sym.BatchNorm(data, fix_gamma=False, eps=1e-3, name="b", **attrs)


IMAGES = mx.sym.Variable("images")
VECTORS = {
    "of a layer": mx.sym.FullyConnected(IMAGES, num_hidden=5, no_bias=True, name="f"),
    "flattened": mx.sym.Flatten(IMAGES),
    "with an activation": mx.sym.clip(mx.sym.Flatten(IMAGES), -1, 1),
    "reshaped": mx.sym.Reshape(IMAGES, shape=(0, -1)),
}


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("data", VECTORS.values(), ids=VECTORS)
def test_batch_norm_of_vectors_is_one_of_maps(data, axis):
    symbol = batch_norm(data, axis=axis)
    fast = fast_symbol(symbol, mx.cpu())
    assert "Reshape" in operators(fast)[-1] and fast.list_outputs() == symbol.list_outputs() == ["b_output"]
    assert fast.list_auxiliary_states() == symbol.list_auxiliary_states()
    draw, shapes = np.random.RandomState(7), symbol.infer_shape(images=(6, 3, 4, 1))[0]
    arrays = {name: draw.randn(*shape) for name, shape in zip(symbol.list_arguments(), shapes)}
    states = {name: np.ones(len(arrays["b_gamma"])) for name in symbol.list_auxiliary_states()}
    grad = draw.randn(*symbol.infer_shape(images=(6, 3, 4, 1))[1][0])
    assert_same(symbol, fast, arrays, grad, "float32", states)


@pytest.mark.parametrize(
    "symbol",
    [
        batch_norm(IMAGES),
        batch_norm(mx.sym.FullyConnected(IMAGES, num_hidden=4, flatten=False)),
        batch_norm(mx.sym.Reshape(IMAGES, shape=(0, 0, -1))),
        batch_norm(mx.sym.Reshape(IMAGES, shape=(-2,))),
        batch_norm(mx.sym.Flatten(IMAGES), axis=0),
        batch_norm(mx.sym.Flatten(IMAGES), output_mean_var=True)[0],
    ],
)
def test_other_batch_norms_stay(symbol):
    assert "b_map_output" not in fast_symbol(symbol, mx.cpu()).get_internals().list_outputs()


def shapes_of_outputs(channels):
    """Of two forward passes of a network that normalizes a map of one pixel and then a vector."""
    size = dict(num_filter=channels, no_bias=True)
    x = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), pad=(1, 1), stride=(2, 2), **size)
    branch = mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), stride=(2, 2), **size)
    x = mx.sym.BatchNorm(branch + mx.sym.Convolution(x, kernel=(1, 1), stride=(2, 2), **size))
    x = mx.sym.BatchNorm(mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=channels))
    executor = fast_symbol(x, mx.cpu()).simple_bind(mx.cpu(), "null", data=(8, 3, 4, 4))
    return [executor.forward()[0].asnumpy().shape for _ in range(2)]


@pytest.mark.parametrize("channels", [64, 512])
def test_batch_norms_of_a_pixel_and_of_a_vector_in_one_process(channels):
    """With AVX-512 MXNet crashes in the plain symbol; this process, without oneDNN's cache, would not."""
    assert in_own_process(shapes_of_outputs, channels) == [(8, channels)] * 2


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@ON_BOTH
def test_sums_of_many_are_sums_of_two(count, precision):
    shape, draw = (2, 16, 9, 7), np.random.RandomState(4)
    images = mx.sym.Variable("images", shape=shape)
    terms = [mx.sym.Convolution(images, num_filter=16, kernel=(1, 1), name=f"c{n}") for n in range(count)]
    symbol = mx.sym.add_n(*terms, name="sum")
    fast = fast_symbol(symbol, mx.cpu(), precision)
    assert "add_n" not in operators(fast) and fast.list_outputs() == symbol.list_outputs()
    assert operators(fast).count("elemwise_add") == count - 1
    arrays = {name: draw.randn(*each) for name, each in zip(symbol.list_arguments(), symbol.infer_shape()[0])}
    assert_same(symbol, fast, arrays, draw.randn(*shape), precision)


def inferred(symbol, arrays, is_fused):
    """Outputs of a symbol for inference, with or without the operators that MXNet fuses then."""
    executor = symbol.simple_bind(mx.cpu(), grad_req="null" if is_fused else "write")
    for name, array in {**executor.arg_dict, **executor.aux_dict}.items():
        array[:] = arrays[name]
    return np.concatenate([output.asnumpy().ravel() for output in executor.forward(is_train=False)])


def conv(data, name):
    return mx.sym.Convolution(data, num_filter=16, kernel=(1, 1), name=name)


def relu(data):
    return mx.sym.Activation(data, act_type="relu")


def norm_of(data, name):
    return mx.sym.BatchNorm(data, fix_gamma=False, name=name)


def branches():
    """Graphs that branch behind a convolution c and join again, or end in several outputs."""
    images = mx.sym.Variable("images", shape=(2, 16, 6, 6))
    for behind in (conv, lambda data, name: norm_of(conv(data, name), name + "_norm")):
        c, o, m = behind(images, "c"), behind(images, "o"), mx.sym.sigmoid(images)
        q = behind(relu(c), "q")
        yield from (c + q, q + c, (c + q) + q, relu(c) + c, (c + m) + c, relu((c + m) + c))
        yield from (mx.sym.clip(c, 0, 1) + c, mx.sym.LeakyReLU(c, act_type="leaky") + c, prelu(c) + c)
        yield from (mx.sym.add_n(c, q), mx.sym.add_n(q, c, q), c + behind(prelu(c), "q"))
        total = mx.sym.add_n(c, m, o)
        yield from (relu(total) + total, total + behind(relu(total), "e"), total + norm_of(c, "n"))
        for outputs in ((c + m, c), (relu(c), c), (total, relu(total)), (c + o, relu(o)), (c + o, o, c)):
            yield mx.sym.Group(outputs)
    f = mx.sym.FullyConnected(images, num_hidden=5, name="f")
    yield mx.sym.Group([relu(f), f])


@pytest.mark.parametrize("symbol", branches())
def test_operators_are_fused_rightly_where_the_graph_branches(symbol):
    draw = np.random.RandomState(8)
    shapes, _, states = symbol.infer_shape()
    arrays = {name: draw.randn(*each) for name, each in zip(symbol.list_arguments(), shapes)}
    arrays.update((name, 1 + draw.rand(*each)) for name, each in zip(symbol.list_auxiliary_states(), states))
    expected = inferred(symbol, arrays, is_fused=False)
    assert norm(inferred(fast_symbol(symbol, mx.cpu()), arrays, is_fused=True) - expected) <= 1e-5 * norm(expected)


@ON_BOTH
def test_relu_is_an_activation(precision):
    shape, draw = (2, 16, 9, 7), np.random.RandomState(5)
    body = mx.sym.Convolution(mx.sym.Variable("images", shape=shape), num_filter=16, kernel=(1, 1), name="c")
    symbol = mx.sym.relu(body, name="r")
    fast = fast_symbol(symbol, mx.cpu(), precision)
    assert "relu" not in operators(fast) and fast.list_outputs() == symbol.list_outputs()
    arrays = {name: draw.randn(*each) for name, each in zip(symbol.list_arguments(), symbol.infer_shape()[0])}
    assert_same(symbol, fast, arrays, draw.randn(*shape), precision)


def test_a_variable_may_have_the_name_of_a_prelu():
    symbol = mx.sym.LeakyReLU(mx.sym.Variable("p", shape=(2, 3, 4, 4)), act_type="prelu", name="p")
    fast = fast_symbol(symbol, mx.cpu())
    assert fast.list_arguments() == symbol.list_arguments() and fast.list_outputs() == symbol.list_outputs()
    arrays, grad = {"p": np.random.RandomState(6).randn(2, 3, 4, 4), "p_gamma": np.arange(3)}, np.ones((2, 3, 4, 4))
    assert_same(symbol, fast, arrays, grad, "float32")


def test_prelus_of_one_name_keep_their_shapes():
    """MXNet allows it; the second has other channels than the first."""
    first = prelu(mx.sym.Variable("images", shape=(2, 3, 4, 4)), mx.sym.Variable("g"))
    symbol = prelu(mx.sym.Convolution(first, num_filter=8, kernel=(1, 1), name="c"), mx.sym.Variable("h"))
    fast = fast_symbol(symbol, mx.cpu())
    assert dict(zip(fast.list_arguments(), fast.infer_shape()[0])) == dict(
        zip(symbol.list_arguments(), symbol.infer_shape()[0])
    )


@pytest.mark.parametrize(
    "symbol",
    [
        prelu(mx.sym.Reshape(mx.sym.Variable("data"), shape=(0, -1, 4, 4))),  # channels depend on the size
        mx.sym.LeakyReLU(mx.sym.Variable("data")),
        mx.sym.LeakyReLU(mx.sym.Variable("data"), act_type="elu"),
    ],
)
def test_other_activations_stay(symbol):
    fast = fast_symbol(symbol, mx.cpu())
    assert operators(fast) == operators(symbol)
    shape = (2, 3, 8, 8)
    assert fast.infer_shape(data=shape) == symbol.infer_shape(data=shape)
