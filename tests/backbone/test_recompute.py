"""Activations that are computed again: less memory, and every number as before, to the bit."""

import json

import mxnet as mx
import numpy as np
import pytest

from partial_fc.backbone.fast import fast_symbol
from partial_fc.backbone.graph import graph_bytes
from partial_fc.backbone.recompute import with_recompute
from partial_fc.symbol import get_symbol

from reference import relative_error


def marked(symbol):
    """Names of the operators that are computed again."""
    nodes = json.loads(symbol.tojson(remove_amp_cast=False))["nodes"]
    return {node["name"] for node in nodes if node.get("attrs", {}).get("__force_mirroring__") == "True"}


def numbers(symbol, shape):
    """Outputs, gradients and statistics of two batches, bytes by name."""
    mx.random.seed(3)
    wanted = {name: "null" if name == "data" else "write" for name in symbol.list_arguments()}
    executor, random = symbol.simple_bind(mx.cpu(), wanted, data=shape), np.random.RandomState(0)
    for name, array in sorted({**executor.arg_dict, **executor.aux_dict}.items()):
        array[:] = 1 if name.endswith(("gamma", "var")) else random.normal(0, 0.1, array.shape)
    found = {}
    for number in range(2):
        executor.arg_dict["data"][:] = random.randint(0, 256, shape)
        executor.forward(is_train=True)
        executor.backward([mx.nd.array(random.normal(size=executor.outputs[0].shape))])
        mx.nd.waitall()
        arrays = {"output": executor.outputs[0], **executor.aux_dict}
        arrays.update({"grad/" + name: array for name, array in executor.grad_dict.items() if array is not None})
        found.update({(name, number): array.asnumpy().tobytes() for name, array in arrays.items()})
    return found


@pytest.mark.parametrize(
    "network, output, options, size, precision",
    [
        ("r18", "FC", {}, 48, "float32"),
        ("r18", "E", dict(net_unit=1), 48, "float32"),
        ("r18", "FC", {}, 112, "bfloat16"),
        ("rx50", "FC", {}, 48, "float32"),
        ("mobilefacenet", "GDC", {}, 112, "float32"),
    ],
)
def test_every_number_is_the_same(network, output, options, size, precision):
    """Also running statistics, which are not counted twice, and dropout, which is not drawn again."""
    symbol = fast_symbol(get_symbol(network, 16, output, **options), mx.cpu(), precision)
    shape = 2, 3, size, size
    again = with_recompute(symbol, shape)
    assert len(marked(again)) > 20 and graph_bytes(again, shape) < graph_bytes(symbol, shape)
    expected, found = (numbers(each, shape) for each in (symbol, again))
    assert {name for name, value in expected.items() if found[name] != value} == set()
    assert len(expected) == len(found) > 100


def test_squeeze_and_excitation_rounds_otherwise():
    """MXNet's operators for it round by the layout of an array in memory, which other places change."""
    symbol, shape = fast_symbol(get_symbol("r18", 16, net_se=1), mx.cpu()), (8, 3, 48, 48)
    expected, found = (numbers(each, shape) for each in (symbol, with_recompute(symbol, shape)))
    for name in ("output", "grad/stage1_unit2_conv1_weight", "stage3_unit1_bn2_moving_mean"):
        exact, value = (np.frombuffer(each[name, 0], np.float32) for each in (expected, found))
        assert relative_error(value, exact) < 1e-5, name


@pytest.mark.parametrize(
    "network, precision, share",
    [("r18", "float32", 0.6), ("r50", "float32", 0.45), ("r100", "float32", 0.35), ("r50", "bfloat16", 0.45)]
    + [("mobilefacenet", "float32", 0.4)],
)
def test_planned_memory_of_networks(network, precision, share):
    symbol, shape = fast_symbol(get_symbol(network, 512), mx.cpu(), precision), (32, 3, 112, 112)
    assert graph_bytes(with_recompute(symbol, shape), shape) < share * graph_bytes(symbol, shape)


def test_arguments_and_outputs_stay():
    symbol = fast_symbol(get_symbol("r18", 16), mx.cpu())
    before = symbol.tojson()
    again = with_recompute(symbol, (4, 3, 48, 48))
    assert symbol.tojson() == before != again.tojson()
    for names in ("list_arguments", "list_auxiliary_states", "list_outputs"):
        assert getattr(again, names)() == getattr(symbol, names)()


def chain(operator):
    """Convolutions and activations that are as large as each other, with an operator behind every fourth."""
    body = mx.sym.Variable("data")
    for number in range(12):
        body = mx.sym.Convolution(body, num_filter=16, kernel=(3, 3), pad=(1, 1), name=f"conv{number}")
        body = operator(body) if number % 4 == 1 else mx.sym.Activation(body, "softrelu")
    return mx.sym.FullyConnected(body, num_hidden=4, name="fc")


@pytest.mark.parametrize(
    "operator, runs",
    [
        (lambda body: mx.sym.Dropout(body, p=0.5), True),
        (lambda body: body * mx.sym.random.normal_like(body), True),
        (lambda body: mx.sym.LeakyReLU(body, act_type="rrelu")[0], False),  # crashes MXNet 1.9.1 in any graph
    ],
)
def test_what_is_random_is_not_drawn_again(operator, runs):
    shape = 8, 3, 32, 32
    symbol = chain(operator)
    again = with_recompute(symbol, shape)
    kinds = {node["op"] for node in json.loads(again.tojson())["nodes"] if node["name"] in marked(again)}
    assert {"Convolution", "Activation"} <= kinds <= {"Convolution", "Activation", "elemwise_mul", "FullyConnected"}
    if runs:
        expected, found = (numbers(each, shape) for each in (symbol, again))
        assert expected == found


def test_a_shortcut_over_everything_leaves_no_place_to_cut():
    """All of the network would be computed again at once, which saves nothing."""
    first = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=16, kernel=(3, 3), pad=(1, 1), name="first")
    body = first
    for number in range(6):
        body = mx.sym.Convolution(body, num_filter=16, kernel=(3, 3), pad=(1, 1), name=f"conv{number}")
    symbol = mx.sym.FullyConnected(body + first, num_hidden=4, name="fc")
    assert marked(with_recompute(symbol, (8, 3, 32, 32))) == set()


def test_a_network_that_has_nothing_to_save_stays():
    symbol = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc")
    assert with_recompute(symbol, (8, 3, 32, 32)) is symbol
