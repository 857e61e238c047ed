"""Low precision: how far it is from float32, and what stays float32."""

import json

import mxnet as mx
import numpy as np
import pytest
from mxnet.contrib.amp.amp import bfloat16
from numpy.linalg import norm

from partial_fc.backbone.fast import fast_symbol
from partial_fc.backbone.graph import rewrite
from partial_fc.backbone.precision import with_cast_parameters
from partial_fc.symbol import get_symbol

SHAPE = (4, 3, 32, 32)
PARAMETERS = ("c_weight", "p_gamma", "bn_gamma", "bn_beta", "d_weight")  # of `unit`


def bound(symbol, shape=SHAPE, beta=0):
    """A training executor whose parameters depend on their names and shapes alone; the betas are `beta`."""
    executor = symbol.simple_bind(mx.cpu(), data=shape)
    for name, array in {**executor.arg_dict, **executor.aux_dict}.items():
        draw = np.random.RandomState(len(name))
        scale = np.sqrt(2 / max(1, np.prod(array.shape[1:])))
        constant = 1 if name.endswith(("gamma", "var")) else 0
        array[:] = draw.randn(*array.shape) * scale if len(array.shape) > 1 else np.full(array.shape, constant)
        if name.endswith("relu1_gamma") or name == "p_gamma":
            array[:] = 0.25
        if name.endswith("beta"):
            array[:] = beta
    executor.arg_dict["data"][:] = np.random.RandomState(0).randint(0, 256, shape)
    return executor


def step(symbol, shape=SHAPE, beta=0):
    """Output, gradients and statistics after a forward and a backward pass."""
    executor = bound(symbol, shape, beta)
    output = executor.forward(is_train=True)[0]
    executor.backward([mx.nd.array(np.random.RandomState(1).randn(*output.shape))])
    mx.nd.waitall()
    arrays = {**executor.grad_dict, **executor.aux_dict}
    assert {array.dtype for array in [output, *arrays.values(), *executor.arg_dict.values()]} == {np.float32}
    return output.asnumpy(), {name: array.asnumpy() for name, array in arrays.items()}


def unit():
    """Convolution, batch normalization, PReLU, sum, convolution."""
    body = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), pad=(1, 1), num_filter=16, name="c")
    body = mx.sym.BatchNorm(body, fix_gamma=False, eps=2e-5, name="bn")
    body = mx.sym.LeakyReLU(body, act_type="prelu", name="p") + body
    return mx.sym.Convolution(body, kernel=(3, 3), num_filter=8, num_group=2, no_bias=True, name="d")


@pytest.mark.parametrize("shape", [(4, 3, 31, 17), (1, 3, 9, 9), (1, 3, 3, 3)])
def test_a_unit_in_bfloat16_is_close_to_float32(shape):
    (expected, exact), (output, low) = step(unit(), shape), step(fast_symbol(unit(), mx.cpu(), "bfloat16"), shape)
    assert 0 < norm(output - expected) <= 0.01 * norm(expected)
    gradients = [np.concatenate([arrays[name].ravel() for name in PARAMETERS]) for arrays in (low, exact)]
    assert norm(gradients[0] - gradients[1]) <= 0.03 * norm(gradients[1])
    for name in ("bn_moving_mean", "bn_moving_var"):
        assert norm(low[name] - exact[name]) <= 0.005 * norm(exact[name]), name


@pytest.mark.parametrize("beta", [0, 1, 3])
def test_each_gradient_in_bfloat16_is_close_to_float32(beta):
    """Also that of a PReLU's slopes, small beside those of weights, where little of its input is below 0."""

    def gradients(symbol):
        return step(symbol, (8, 3, 40, 40), beta)[1]

    exact, low = gradients(unit()), gradients(fast_symbol(unit(), mx.cpu(), "bfloat16"))
    for name in PARAMETERS:
        assert norm(low[name] - exact[name]) <= 0.03 * norm(exact[name]), name


def test_embeddings_of_r18_keep_their_direction():
    symbol = get_symbol("r18", 64)
    expected, output = step(symbol)[0], step(fast_symbol(symbol, mx.cpu(), "bfloat16"))[0]
    cosines = (expected * output).sum(1) / norm(expected, axis=1) / norm(output, axis=1)
    assert 0.999 < cosines.min() < 1


def test_arrays_stay_low_from_convolution_to_convolution():
    """Two casts of arrays of the batch's size, and one per weight: what is between is computed in bfloat16."""
    nodes = json.loads(fast_symbol(unit(), mx.cpu(), "bfloat16").tojson(remove_amp_cast=False))["nodes"]
    cast = [nodes[node["inputs"][0][0]]["name"] for node in nodes if node["op"] == "amp_cast"]
    weights = ["c_weight", "c_bias", "p_below_weight", "d_weight"]
    assert sorted(cast) == sorted(["data", "d_bfloat16", *weights])


def test_what_is_slow_or_inexact_in_bfloat16_is_computed_in_float32():
    body = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(1, 1), num_filter=8, name="c")
    gate = mx.sym.Activation(mx.sym.Pooling(body, global_pool=True, kernel=(1, 1), pool_type="avg"), act_type="sigmoid")
    body = mx.sym.Activation(body, act_type="softsign")  # which has no bfloat16 at all
    body = mx.sym.Dropout(mx.sym.broadcast_mul(body, gate), p=0.0)
    symbol = mx.sym.softmax(mx.sym.FullyConnected(mx.sym.Flatten(body), num_hidden=7, name="f"))
    expected, output = step(symbol)[0], step(fast_symbol(symbol, mx.cpu(), "bfloat16"))[0]
    assert norm(output - expected) <= 0.02 * norm(expected)


def test_casts_of_a_symbol_survive_being_rewritten():
    low = fast_symbol(unit(), mx.cpu(), "bfloat16")
    again = rewrite(low, lambda graph, node: None)
    assert again.tojson(remove_amp_cast=False) == low.tojson(remove_amp_cast=False)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_that_was_trained_in_float16_runs_on_a_cpu(precision):
    """Such a symbol casts its images to float16 and its embeddings back."""
    low = mx.sym.Cast(mx.sym.Variable("data"), dtype="float16")
    body = mx.sym.Convolution(low, kernel=(3, 3), num_filter=4, name="c")
    symbol = mx.sym.Cast(mx.sym.FullyConnected(body, num_hidden=5, name="f"), dtype="float32", name="fc1")
    body = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, name="c")
    expected, _ = step(mx.sym.FullyConnected(body, num_hidden=5, name="f"))
    fast = fast_symbol(symbol, mx.cpu(), precision)
    assert fast.list_outputs() == symbol.list_outputs()
    assert norm(step(fast)[0] - expected) <= {"float32": 1e-6, "bfloat16": 0.01}[precision] * norm(expected)


@pytest.mark.parametrize("dtype", ["float16", "float64", bfloat16])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_types_of_variables_and_operators_are_those_of_the_precision(precision, dtype):
    """As Gluon leaves them after `cast`, and as AMP does."""
    weight = mx.sym.Variable("c_weight", dtype=dtype)
    low = mx.sym.amp_cast(mx.sym.Variable("data"), dtype=dtype)
    body = mx.sym.Convolution(low, weight, kernel=(3, 3), num_filter=4, no_bias=True, name="c")
    body = mx.sym.broadcast_add(body, mx.sym.ones((1, 4, 1, 1), dtype="float16" if dtype == "float16" else "float64"))
    symbol = mx.sym.amp_cast(mx.sym.Activation(body, act_type="relu"), dtype="float32", name="fc1")
    plain = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, no_bias=True, name="c")
    expected, _ = step(mx.sym.Activation(plain + 1, act_type="relu"))
    output, _ = step(fast_symbol(symbol, mx.cpu(), precision))
    assert norm(output - expected) <= {"float32": 1e-6, "bfloat16": 0.01}[precision] * norm(expected)


def inferred(symbol, parameters):
    """The output of an inference with these parameters."""
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=SHAPE)
    for name, array in {**executor.arg_dict, **executor.aux_dict}.items():
        if name != "data":
            assert array.dtype == parameters[name].dtype
            parameters[name].copyto(array)
    executor.arg_dict["data"][:] = np.random.RandomState(0).randint(0, 256, SHAPE)
    return executor.forward(is_train=False)[0].asnumpy()


@pytest.mark.parametrize("network", ["r18", "mobilefacenet", "demo"])
def test_parameters_that_are_cast_once_give_the_same_bits(network):
    output = "FC" if network == "mobilefacenet" else "E"
    plain = get_symbol(network, 32, output)
    symbol = fast_symbol(plain, mx.cpu(), "bfloat16")
    executor = bound(symbol)
    parameters = {**executor.arg_dict, **executor.aux_dict}
    cast_symbol, cast_parameters = with_cast_parameters(symbol, parameters)
    assert cast_symbol.list_arguments() == symbol.list_arguments() and set(cast_parameters) == set(parameters)
    low = {name for name, array in cast_parameters.items() if array.dtype != np.float32}
    convolutions = {
        node["name"] + "_weight" for node in json.loads(plain.tojson())["nodes"] if node["op"] == "Convolution"
    }
    assert convolutions <= low
    assert np.array_equal(inferred(cast_symbol, cast_parameters), inferred(symbol, parameters))


def test_a_parameter_with_other_readers_stays_as_it_is():
    weight = mx.sym.Variable("w", shape=(3, 3, 1, 1))
    body = mx.sym.Convolution(mx.sym.Variable("data"), weight, kernel=(1, 1), num_filter=3, no_bias=True, name="c")
    symbol = fast_symbol(mx.sym.broadcast_add(body, mx.sym.sum(weight).reshape((1, 1, 1, 1))), mx.cpu(), "bfloat16")
    parameters = {"w": mx.nd.array(np.random.RandomState(0).randn(3, 3, 1, 1))}
    cast_symbol, cast_parameters = with_cast_parameters(symbol, parameters)
    assert cast_parameters["w"].dtype == np.float32
    assert np.array_equal(inferred(cast_symbol, cast_parameters), inferred(symbol, parameters))


def test_float32_is_left_alone():
    symbol = fast_symbol(get_symbol("demo", 32), mx.cpu())
    parameters = {**bound(symbol).arg_dict}
    cast_symbol, cast_parameters = with_cast_parameters(symbol, parameters)
    assert cast_symbol.tojson() == symbol.tojson() and all(
        cast_parameters[name] is parameters[name] for name in parameters
    )
