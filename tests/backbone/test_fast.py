"""The symbol that is computed instead of the plain one: what stays, and that it runs."""

import json
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from numpy.linalg import norm

from partial_fc.backbone.fast import fast_symbol, network_input
from partial_fc.checkpoint.model_files import save_model
from partial_fc.head.products import PRECISIONS
from partial_fc.symbol import NETWORKS, get_symbol

from helpers.models import mobilefacenet

SIZE = 32


def outputs(symbol, seeds=(0, 1, 2), size=SIZE):
    """Of a network of fixed random parameters, bound for inference, for a batch of 2 images for each seed."""
    module = mx.mod.Module(symbol, label_names=None)
    module.bind([("data", (2, 3, size, size))], for_training=False)
    mx.random.seed(1)
    module.init_params(mx.init.Xavier())
    results = []
    for seed in seeds:
        data = mx.nd.array(np.random.RandomState(seed).randint(0, 256, (2, 3, size, size)))
        module.forward(mx.io.DataBatch([data]), is_train=False)
        results += [output.asnumpy() for output in module.get_outputs()]
    return results


def nodes(symbol):
    return json.loads(symbol.tojson(remove_amp_cast=False))["nodes"]


def interface(symbol, size=SIZE):
    """Names, shapes and types of all that goes into a symbol and comes out of it."""
    shapes, types = symbol.infer_shape(data=(2, 3, size, size)), symbol.infer_type(data="float32")
    return symbol.list_arguments(), symbol.list_auxiliary_states(), symbol.list_outputs(), shapes, types


def straight(num_group=1, **arguments):
    """A convolution down to 1 x 1 pixels that a fully connected layer reads."""
    body = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(SIZE, SIZE), num_filter=24, num_group=num_group)
    return mx.sym.FullyConnected(body, num_hidden=5, name="fc1", **arguments)


def test_the_network_of_the_tests_is_the_published_one():
    lines = (Path(__file__).parents[1] / "reference" / "mobilefacenet128.tsv").read_text().splitlines()[2:]
    symbol = mobilefacenet()
    arguments, _, states = symbol.infer_shape(data=(1, 3, 112, 112))
    own = [("arg", *row) for row in zip(symbol.list_arguments(), arguments)]
    own += [("aux", *row) for row in zip(symbol.list_auxiliary_states(), states)]
    assert [f"{kind}\t{name}\t{'x'.join(map(str, shape))}" for kind, name, shape in own] == lines


STRAIGHT = [
    straight(),
    straight(num_group=3),
    straight(no_bias=True),
    straight(flatten=False),
    mx.sym.Activation(straight(), act_type="relu"),
    mx.sym.BatchNorm(straight()),
]
ON_BOTH = pytest.mark.parametrize("precision", ["float32", "bfloat16"])


@pytest.mark.parametrize("symbol", STRAIGHT)
def test_runs_again_and_again(symbol):
    """Unchanged, these fail at their second batch where the machine has AVX-512."""
    fast = fast_symbol(symbol, mx.cpu())
    # a batch that comes first is computed before anything is kept that could be wrong
    np.testing.assert_allclose(outputs(fast)[-1], outputs(fast, seeds=[2])[0], rtol=1e-5, atol=1e-4)


@ON_BOTH
def test_a_mobile_network_embeds_batch_after_batch(precision):
    fast = fast_symbol(mobilefacenet(), mx.cpu(), precision)
    (expected,) = outputs(mobilefacenet(), seeds=[2], size=112)  # it would fail at a second batch
    computed = outputs(fast, size=112)[-1]
    cosines = (computed * expected).sum(1) / norm(computed, axis=1) / norm(expected, axis=1)
    assert cosines.min() > {"float32": 1 - 1e-5, "bfloat16": 0.998}[precision]


@ON_BOTH
def test_a_mobile_network_trains_batch_after_batch(precision):
    module = mx.mod.Module(fast_symbol(mobilefacenet(), mx.cpu(), precision), label_names=None)
    module.bind([("data", (2, 3, 112, 112))])
    module.init_params(mx.init.Xavier())
    module.init_optimizer()
    for seed in range(3):
        batch = mx.io.DataBatch([mx.nd.array(np.random.RandomState(seed).randint(0, 256, (2, 3, 112, 112)))])
        for is_train in (False, True):
            module.forward(batch, is_train=is_train)
            assert np.isfinite(module.get_outputs()[0].asnumpy()).all()
        module.backward([mx.nd.ones((2, 128))])
        module.update()
    assert all(np.isfinite(array.asnumpy()).all() for array in module.get_params()[0].values())


@ON_BOTH
@pytest.mark.parametrize("network", [*NETWORKS, "mobilefacenet"])
def test_arguments_states_and_outputs_are_those_of_the_plain_symbol(network, precision):
    symbol = mobilefacenet() if network == "mobilefacenet" else get_symbol(network, 32, "E")
    before = symbol.tojson()
    fast = fast_symbol(symbol, mx.cpu(), precision)
    assert symbol.tojson() == before
    assert interface(fast, 112) == interface(symbol, 112)
    operators = [(node["op"], node.get("attrs", {}).get("act_type")) for node in nodes(fast)]
    assert ("LeakyReLU", "prelu") not in operators
    assert (("amp_cast", None) in operators) == (precision == "bfloat16")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_on_a_gpu_only_the_precision_changes(precision):
    symbol = get_symbol("r18", 32)
    fast = fast_symbol(symbol, mx.gpu(), precision)
    assert interface(fast) == interface(symbol)
    assert [node["op"] for node in nodes(fast) if node["op"] != "amp_cast"] == [node["op"] for node in nodes(symbol)]
    types = dict(zip(fast.get_internals().list_outputs(), fast.get_internals().infer_type(data="float32")[1]))
    low = {name for name, dtype in types.items() if dtype not in (np.float32,)}
    assert ("pre_fc1_output" in low) == ("conv0_output" in low and precision == "float16")
    assert ("stage1_unit1_relu1_output" in low) == (precision == "float16")
    assert bool(low) == (precision != "float32")


def test_what_is_saved_is_the_plain_symbol(tmp_path):
    symbol = get_symbol("r18", 32)
    module = mx.mod.Module(fast_symbol(symbol, mx.cpu(), "bfloat16"), label_names=None)
    module.bind([("data", (1, 3, 16, 16))], for_training=False)
    module.init_params(mx.init.Xavier())
    save_model(str(tmp_path / "m"), symbol, *module.get_params())
    assert (tmp_path / "m-symbol.json").read_text() == symbol.tojson()
    plain = mx.mod.Module.load(str(tmp_path / "m"), 0, label_names=None)
    plain.bind([("data", (1, 3, 16, 16))], for_training=False)
    for name, array in plain.get_params()[0].items():
        np.testing.assert_array_equal(array.asnumpy(), module.get_params()[0][name].asnumpy())


def test_attributes_of_variables_and_initial_slopes_stay():
    weight = mx.sym.Variable("c_weight", lr_mult=2.0, wd_mult=0.5, init=mx.init.Constant(3))
    body = mx.sym.Convolution(mx.sym.Variable("data"), weight, kernel=(3, 3), num_filter=4, name="c")
    symbol = mx.sym.LeakyReLU(body, act_type="prelu", name="p")
    fast = fast_symbol(symbol, mx.cpu(), "bfloat16")
    for name, attributes in symbol.attr_dict().items():
        if name in symbol.list_arguments():
            assert attributes.items() <= fast.attr_dict()[name].items()
    module = mx.mod.Module(fast, label_names=None)
    module.bind([("data", (1, 3, 5, 5))])
    module.init_params(mx.init.Xavier())
    arguments = module.get_params()[0]
    assert (arguments["p_gamma"].asnumpy() == 0.25).all() and (arguments["c_weight"].asnumpy() == 3).all()


@ON_BOTH
def test_values_of_a_symbol_with_shared_slopes_several_outputs_and_names_that_clash(precision):
    gamma = mx.sym.Variable("shared")
    body = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=6, num_group=3, name="p_below")
    first = mx.sym.LeakyReLU(body, gamma, act_type="prelu", name="p")
    second = mx.sym.LeakyReLU(first - 100, gamma, act_type="prelu", name="p_far")
    clash = mx.sym.Activation(second, act_type="relu", name="p_above")
    halves = mx.sym.SliceChannel(first, num_outputs=2, name="halves")
    symbol = mx.sym.Group([first, halves[1], second + clash, body])
    fast = fast_symbol(symbol, mx.cpu(), precision)
    assert interface(fast) == interface(symbol)
    internals = fast.get_internals().list_outputs()
    assert len(set(internals)) == len(internals)
    for expected, computed in zip(outputs(symbol), outputs(fast)):
        assert norm(computed - expected) <= {"float32": 1e-5, "bfloat16": 0.01}[precision] * norm(expected)


@pytest.mark.parametrize("symbol", [get_symbol("demo", 8), get_symbol("demo", 8, "E"), get_symbol("r18", 8)])
def test_values_stay(symbol):
    for expected, computed in zip(outputs(symbol), outputs(fast_symbol(symbol, mx.cpu()))):
        np.testing.assert_allclose(computed, expected, rtol=1e-4, atol=1e-5)


def test_input_has_the_channels_first():
    images = np.random.RandomState(0).randint(0, 256, (2, 3, 5, 3)).astype(np.uint8)
    for given in (images, images[:, :, ::-1], images[::2, :2]):  # mirrored and cut ones are no contiguous arrays
        data = network_input(given, mx.cpu())
        assert data.dtype == np.float32 and np.array_equal(data.asnumpy(), given.transpose(0, 3, 1, 2))
