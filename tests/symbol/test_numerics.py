"""Units, inputs and outputs against NumPy in float64: values, and gradients by finite differences."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.symbol import get_symbol, mobilefacenet, outputs, resnet, units
from partial_fc.symbol.layers import Layers

from helpers import network_reference as reference
from helpers.against_reference import bind, check_gradients, close

DATA = mx.sym.Variable("data")
SHAPES = [(1, False), (1, True), (2, True)]  # stride, project
ACTIVATIONS = ("prelu", "relu")


class ComposedLayers(Layers):
    """PReLU of other operators.

    In some graphs MXNet 1.9's own multiplies the gradient of a slope by the slope, see docs/networks.md.
    """

    def activation(self, data, name):
        if self.net_act != "prelu":
            return super().activation(data, name)
        slope = mx.sym.Reshape(mx.sym.Variable(name + "_gamma"), shape=(1, -1, 1, 1))
        positive = mx.sym.Activation(data, act_type="relu")
        return positive + mx.sym.broadcast_mul(data - positive, slope)


def check(build, function, shape, net_act="prelu", fixed=(), pixels=False):
    """Values with given statistics and with those of the batch; gradients of the latter.

    Args:
        build: function from Layers to a symbol.
        function: the same in NumPy, from a Reference and `data`.
        shape: of `data`.
        net_act: activation.
        fixed: parameters that have no gradient.
        pixels: whether `data` is an image.
    """
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, shape) if pixels else rng.normal(size=shape)
    executor, params = bind(build(Layers(net_act)), data, rng, small_variance=not pixels)
    expected = function(reference.Reference(params, relu=net_act == "relu"), params["data"])
    assert close(executor.forward(is_train=False)[0].asnumpy(), expected)
    with mx.name.NameManager():
        symbol = build(ComposedLayers(net_act))
    inner = symbol.get_internals()
    dropped = "dropout0_output" in inner.list_outputs()  # what dropout did is read from its input and output
    group = [inner["bn1_output"], inner["dropout0_output"]] if dropped else []
    executor, params = bind(mx.sym.Group([mx.sym.identity(symbol), *group]), data, rng, like=build(Layers(net_act)))
    found, *around = [each.asnumpy() for each in executor.forward(is_train=True)]
    factor = around[1] / around[0] if dropped else None

    def trained(params):
        ref = reference.Reference(params, is_train=True, relu=net_act == "relu", dropout_factor=factor)
        return function(ref, params["data"])

    assert close(found, trained(params))
    check_gradients(executor, params, trained, rng, fixed)


@pytest.mark.parametrize("stride, project", SHAPES)
@pytest.mark.parametrize("net_act", ACTIVATIONS)
@pytest.mark.parametrize("net_se", [0, 1])
@pytest.mark.parametrize("net_unit", [1, 2, 3])
def test_units(net_unit, net_se, net_act, stride, project):
    def build(layers):
        return units.UNITS[net_unit](layers, DATA, 32, stride, project, "u", net_se)

    assert ("u_se_conv1_weight" in build(Layers()).list_arguments()) == bool(net_se)
    function = getattr(reference, f"unit{net_unit}")
    check(build, lambda ref, x: function(ref, x, stride, project), (2, 32, 6, 6), net_act)


@pytest.mark.parametrize("stride, project", SHAPES)
def test_the_first_unit_of_networks_that_halve_the_image_at_once(stride, project):
    check(
        lambda layers: units.unit1(layers, DATA, 16, stride, project, "u", 0, stride_first=True),
        lambda ref, x: reference.unit1(ref, x, stride, project, stride_first=True),
        (2, 16, 6, 6),
    )


@pytest.mark.parametrize("stride, project", SHAPES)
@pytest.mark.parametrize("net_se", [0, 1])
def test_resnext_unit(net_se, stride, project):
    check(
        lambda layers: units.resnext_unit(layers, DATA, 64, stride, project, "u", net_se),
        lambda ref, x: reference.resnext_unit(ref, x, stride, project),
        (2, 64, 4, 4),
    )


@pytest.mark.parametrize("net_act", ACTIVATIONS)
@pytest.mark.parametrize("net_input", [0, 1, 2])
def test_inputs(net_input, net_act):
    check(
        lambda layers: resnet.stem(layers, net_input),
        lambda ref, x: reference.stem(ref, x, net_input),
        (2, 3, 8, 8),
        net_act,
        fixed={"bn_data_gamma"},
        pixels=True,
    )


@pytest.mark.parametrize("net_act", ACTIVATIONS)
@pytest.mark.parametrize("embedding_size", [8, 16, 24])  # fewer dimensions than channels, as many, more
@pytest.mark.parametrize("net_output", outputs.OUTPUTS)
def test_outputs(net_output, embedding_size, net_act):
    check(
        lambda layers: outputs.OUTPUTS[net_output](layers, DATA, 16, embedding_size),
        lambda ref, x: reference.output(ref, x, net_output, embedding_size),
        (4, 16, 7, 7),
        net_act,
        fixed={"fc1_gamma", "bn6f_gamma", "bn6w_gamma"},
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_bottleneck_of_mobilefacenet(stride):
    check(
        lambda layers: mobilefacenet._bottleneck(layers, DATA, 8, 16, stride, "b"),
        lambda ref, x: reference.bottleneck(ref, x, "b", stride),
        (2, 8, 6, 6),
    )


@pytest.mark.parametrize("is_train", [False, True])
def test_the_whole_mobilefacenet(is_train):
    rng = np.random.default_rng(0)
    executor, params = bind(get_symbol("mobilefacenet", 32), rng.integers(0, 256, (3, 3, 112, 112)), rng)
    expected = reference.mobilefacenet(reference.Reference(params, is_train), params["data"])
    assert close(executor.forward(is_train=is_train)[0].asnumpy(), expected, 1e-4)
