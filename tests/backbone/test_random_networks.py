"""Networks drawn at random, one after the other in one process: none crashes MXNet, all compute what they should."""

import random

import mxnet as mx
import numpy as np
import pytest
from numpy.linalg import norm

from benchmarks.measure import in_own_process
from partial_fc.backbone.fast import fast_symbol

sym = mx.sym


def draw_network(draw):
    """Units with and without shortcuts, gates, normalizations, on maps down to one pixel, and one of several heads."""
    channels = draw.choice([3, 8, 16, 24, 32, 64, 512])
    body = sym.Variable("data")
    for unit in range(draw.randint(1, 4)):
        body = draw_unit(draw, body, channels, unit, stride=draw.choice([1, 2]))
    head = draw.choice(["map", "vector", "pool", "pool and vector"])
    if "pool" in head:
        body = sym.Pooling(body, global_pool=True, kernel=(1, 1), pool_type=draw.choice(["avg", "max"]))
    body = maybe_norm(draw, body, "last")
    if "vector" in head:
        flat = draw.choice([body, sym.Flatten(body)])
        body = sym.FullyConnected(flat, num_hidden=draw.choice([channels, 32]), name="fc")
    else:
        body = sym.Flatten(body)
    return maybe_norm(draw, body, "embedding")


def draw_unit(draw, data, channels, unit, stride):
    size = dict(num_filter=channels, stride=(stride, stride), no_bias=True)
    body = sym.Convolution(data, kernel=(3, 3), pad=(1, 1), name=f"conv{unit}", **size)
    body = draw_activation(draw, maybe_norm(draw, body, f"inner{unit}"), unit)
    if draw.random() < 0.5:
        shortcut = sym.Convolution(data, kernel=(1, 1), name=f"shortcut{unit}", **size)
        body = draw.choice([body + shortcut, sym.add_n(body, shortcut, shortcut)])
    if draw.random() < 0.2:
        pooled = sym.Flatten(sym.Pooling(body, global_pool=True, kernel=(1, 1), pool_type="avg"))
        gate = sym.sigmoid(sym.FullyConnected(pooled, num_hidden=channels, name=f"gate{unit}"))
        body = sym.broadcast_mul(body, sym.Reshape(gate, shape=(0, 0, 1, 1)))
    return maybe_norm(draw, body, f"outer{unit}")


def draw_activation(draw, data, unit):
    kinds = [
        data,
        sym.relu(data),
        sym.Activation(data, act_type="tanh"),
        sym.LeakyReLU(data, slope=0.1),
        sym.LeakyReLU(data, act_type="prelu", name=f"prelu{unit}"),
    ]
    return draw.choice(kinds)


def maybe_norm(draw, data, name):
    return sym.BatchNorm(data, fix_gamma=draw.random() < 0.5, name=name) if draw.random() < 0.6 else data


def draw_arrays(symbol, shape, numbers):
    """Images and parameters by name, and states, which leave the scale as it is."""
    shapes, _, states = symbol.infer_shape(data=shape)
    arrays = {name: numbers.standard_normal(each) for name, each in zip(symbol.list_arguments(), shapes)}
    arrays.update({name: arrays[name] / np.prod(arrays[name].shape[1:]) ** 0.5 for name in arrays if "weight" in name})
    names = symbol.list_auxiliary_states()
    return arrays, {name: np.full(each, float("var" in name)) for name, each in zip(names, states)}


def outputs(symbol, arrays, states, dtype, is_train):
    """Of two forward passes: MXNet's fused operators compute their second one differently."""
    given, fixed = ({name: mx.nd.array(each, dtype=dtype) for name, each in of.items()} for of in (arrays, states))
    gradients = {name: mx.nd.zeros(each.shape, dtype=dtype) for name, each in arrays.items()}
    requests = dict(args_grad=gradients) if is_train else dict(grad_req="null")
    executor = symbol.bind(mx.cpu(), given, aux_states=fixed, **requests)
    found = []
    for _ in range(2):
        found.append(executor.forward(is_train=is_train)[0].asnumpy())
        if is_train:
            executor.backward([mx.nd.ones(found[0].shape, dtype=dtype)])
            mx.nd.waitall()
    return found


def worst_errors(seed, count):
    """Largest norm-wise error against plain symbols in float64, which oneDNN does not compute, by precision."""
    draw, numbers, worst = random.Random(seed), np.random.default_rng(seed), {"float32": 0, "bfloat16": 0}
    for _ in range(count):
        symbol, precision, is_train = draw_network(draw), draw.choice(list(worst)), draw.random() < 0.4
        size, batch_size = draw.choice([1, 2, 3, 4, 5, 7, 8]), draw.choice([2, 3, 8])
        arrays, states = draw_arrays(symbol, (batch_size, 3, size, size), numbers)
        fast = outputs(fast_symbol(symbol, mx.cpu(), precision), arrays, states, "float32", is_train)
        if is_train and precision == "bfloat16":
            continue  # in training, to normalize few similar values makes any rounding large
        expected = outputs(symbol, arrays, states, "float64", is_train)
        errors = [norm(each - right) / norm(right) for each, right in zip(fast, expected)]
        worst[precision] = max(worst[precision], *errors)
    return worst


@pytest.mark.parametrize("seed", range(3))
def test_none_crashes_and_all_are_right(seed):
    worst = in_own_process(worst_errors, seed, 150)
    assert 0 < worst["float32"] < 1e-4 and 0 < worst["bfloat16"] < 0.03
