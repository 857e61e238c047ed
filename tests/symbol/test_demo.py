"""The network of the demo, and what `small` has in common with it."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.symbol import demo, get_symbol


@pytest.mark.parametrize("height, width", [(16, 16), (64, 64), (112, 112), (112, 96)])
def test_four_halvings_of_any_multiple_of_sixteen(height, width):
    symbol = get_symbol("demo", 32)
    arg_shapes, out_shapes, _ = symbol.infer_shape(data=(2, 3, height, width))
    shapes = dict(zip(symbol.list_arguments(), arg_shapes))
    assert shapes["pre_fc1_weight"] == (32, demo.FILTERS[-1] * (height // 16) * (width // 16))
    assert out_shapes == [(2, 32)]


@pytest.mark.parametrize("network", ["demo", "small"])
def test_every_parameter_gets_a_gradient(network):
    executor = get_symbol(network, 16).simple_bind(mx.cpu(), data=(4, 3, 32, 32))
    rng = np.random.default_rng(0)
    for array in executor.arg_dict.values():
        array[:] = rng.normal(size=array.shape)
    executor.forward(is_train=True)
    executor.backward(mx.nd.array(rng.normal(size=(4, 16))))
    for name, grad in executor.grad_dict.items():
        # The gain of fc1 is fixed at 1.
        assert bool(grad.asnumpy().any()) == (name != "fc1_gamma"), name
