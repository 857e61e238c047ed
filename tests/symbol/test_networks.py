"""All networks: names and shapes of published parameters, options, other embedding sizes, training."""

import json
import math
import re
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from partial_fc.symbol import NETWORKS, OPTIONS, get_symbol
from partial_fc.symbol.outputs import OUTPUTS

REFERENCE = Path(__file__).parents[1] / "reference"
TABLES = sorted(path.stem for path in REFERENCE.glob("*.tsv"))
RESIDUAL = dict(net_se=1, net_act="relu", net_unit=1, net_input=2)


def read_reference(name):
    """Options, number of trainable parameters, output, and (kind, name, shape) of arguments and auxiliary states."""
    header, _, *lines = (REFERENCE / f"{name}.tsv").read_text().splitlines()
    options = {key: int(value) if value.isdigit() else value for key, value in re.findall(r"(net_\w+)=(\w+)", header)}
    size = int(re.search(r"(\d+) trainable parameters", header).group(1))
    output = re.search(r"output (\w+)", header).group(1)
    rows = [line.split("\t") for line in lines]
    return options, size, output, [(kind, name, tuple(map(int, shape.split("x")))) for kind, name, shape in rows]


def variables(symbol, size=112):
    """(name, shape) of arguments and of auxiliary states."""
    arguments, _, states = symbol.infer_shape(data=(1, 3, size, size))
    return list(zip(symbol.list_arguments(), arguments)), list(zip(symbol.list_auxiliary_states(), states))


def test_there_is_a_table_of_every_published_depth():
    depths = "18 34 49 50 74 90 98 99 100 101 124 134 136 140 152 160 200 269".split()
    assert {f"r{depth}" for depth in depths} - {table.split("-")[0] for table in TABLES} == set()


@pytest.mark.parametrize("table", TABLES)
def test_parameters_are_those_of_published_models(table):
    options, size, output, reference = read_reference(table)
    network, dimension = ("mobilefacenet", 128) if table == "mobilefacenet128" else (table.split("-")[0], 512)
    symbol = get_symbol(network, dimension, **options)
    arguments, states = variables(symbol)
    assert [("arg", *row) for row in arguments] + [("aux", *row) for row in states] == reference
    assert sum(math.prod(shape) for name, shape in arguments if name != "data") == size
    assert symbol.list_outputs() == [output]


def test_mobilefacenet_with_512_numbers_differs_in_its_last_layer_alone():
    (small, _), (large, states) = (variables(get_symbol("mobilefacenet", size)) for size in (128, 512))
    different = [new for old, new in zip(small, large) if old != new]
    last = [("fc1_weight", (512, 512)), ("pre_fc1_bias", (512,)), ("fc1_gamma", (512,)), ("fc1_beta", (512,))]
    assert different == last and ("fc1_moving_var", (512,)) in states


@pytest.mark.parametrize("embedding_size", [2, 128, 1000])
@pytest.mark.parametrize("net_output", sorted(set(OUTPUTS) - {"Z"}))
@pytest.mark.parametrize("network", ["demo", "small", "mobilefacenet", "r18", "rx50"])
def test_other_embedding_sizes(network, net_output, embedding_size):
    symbol = get_symbol(network, embedding_size, net_output)
    assert symbol.list_outputs() == ["fc1_output"]
    assert symbol.infer_shape(data=(3, 3, 112, 112))[1] == [(3, embedding_size)]


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_has_embeddings_of_the_size_that_is_asked_for(network):
    symbol = get_symbol(network, 64)
    assert symbol.infer_shape(data=(1, 3, 112, 112))[1] == [(1, 64)]


@pytest.mark.parametrize("network", ["demo", "small", "mobilefacenet", "r18", "rx50"])
def test_bn_mom_and_workspace_reach_every_layer(network):
    nodes = json.loads(get_symbol(network, net_output="GNAP", bn_mom=0.5, workspace=99).tojson())["nodes"]
    norms = [node["attrs"]["momentum"] for node in nodes if node["op"] == "BatchNorm"]
    convolutions = [node["attrs"]["workspace"] for node in nodes if node["op"] == "Convolution"]
    assert set(norms) == {"0.5"} and set(convolutions) == {"99"}


def test_bn_mom_is_the_share_of_the_old_value():
    executor = get_symbol("demo", 8, bn_mom=0.75).simple_bind(mx.cpu(), data=(4, 3, 32, 32))
    for array in executor.arg_dict.values():
        array[:] = np.random.default_rng(0).normal(size=array.shape)
    executor.aux_dict["fc1_moving_mean"][:] = 1
    executor.arg_dict["fc1_beta"][:] = 0
    executor.arg_dict["pre_fc1_weight"][:] = 0
    executor.arg_dict["pre_fc1_bias"][:] = 3  # the mean of the batch
    executor.forward(is_train=True)
    executor.backward(mx.nd.zeros((4, 8)))
    mx.nd.waitall()  # the statistics change without the engine's knowledge
    np.testing.assert_allclose(executor.aux_dict["fc1_moving_mean"].asnumpy(), 0.75 * 1 + 0.25 * 3, rtol=1e-5)


@pytest.mark.parametrize("network, eps", [("r18", 2e-5), ("rx50", 2e-5), ("mobilefacenet", 1e-3)])
def test_eps_of_batch_normalization(network, eps):
    nodes = json.loads(get_symbol(network).tojson())["nodes"]
    found = {node["name"]: float(node["attrs"]["eps"]) for node in nodes if node["op"] == "BatchNorm"}
    assert found.pop("fc1") == 2e-5 and set(found.values()) == {eps}


def test_options_change_nothing_by_their_defaults():
    assert get_symbol("r18", 64, "FC", **OPTIONS).tojson() == get_symbol("r18", 64).tojson()
    assert get_symbol("demo", 64, "FC", **OPTIONS).tojson() == get_symbol("demo", 64).tojson()


@pytest.mark.parametrize(
    "network, options",
    [("demo", set(RESIDUAL)), ("small", set(RESIDUAL)), ("mobilefacenet", set(RESIDUAL) - {"net_act"})],
)
def test_options_that_a_network_has_not_are_errors(network, options):
    for name in options:
        with pytest.raises(ValueError, match=f"the network {network} cannot be changed by {name}"):
            get_symbol(network, **{name: RESIDUAL[name]})


def test_resnext_has_one_unit():
    with pytest.raises(ValueError, match="the network rx50 cannot be changed by net_unit"):
        get_symbol("rx50", net_unit=1)
    assert "stage1_unit1_se_conv1_weight" in get_symbol("rx50", net_se=1, net_act="relu").list_arguments()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            dict(network="r19"),
            "unknown network 'r19': choose one of demo, small, mobilefacenet, r18, .*r269, rx50, rx101",
        ),
        (dict(network="r18", net_output="K"), "unknown net_output 'K': choose one of FC, E, .*GDC, Z"),
        (dict(network="r18", net_act="tanh"), "unknown net_act 'tanh': choose one of prelu, relu"),
        (dict(network="r18", net_unit=4), "unknown net_unit 4: choose one of 1, 2, 3"),
        (dict(network="r18", net_input=3), "unknown net_input 3: choose one of 0, 1, 2"),
        (dict(network="r18", net_se=2), "unknown net_se 2: choose one of 0, 1"),
        (dict(network="r18", bn_momentum=0.9), "the network r18 cannot be changed by bn_momentum"),
    ],
)
def test_what_is_unknown_is_an_error_that_names_the_choices(arguments, words):
    with pytest.raises(ValueError, match=words):
        get_symbol(**arguments)


VARIANTS = [
    ("demo", {}),
    ("small", {}),
    ("r18", {}),
    ("rx50", {}),
    ("mobilefacenet", {"net_output": "FC"}),
    ("mobilefacenet", {}),
]
VARIANTS += [("r18", {name: value}) for name, value in [("net_se", 1), ("net_act", "relu"), ("net_unit", 1)]]
VARIANTS += [("r18", {name: value}) for name, value in [("net_unit", 2), ("net_input", 0), ("net_input", 2)]]
VARIANTS += [("r18", {"net_output": net_output}) for net_output in sorted(set(OUTPUTS) - {"Z", "I", "GDC", "FC"})]


@pytest.mark.parametrize("network, options", VARIANTS)
def test_updates_lower_a_loss(network, options):
    """A few images are pulled towards as many fixed embeddings."""
    mx.random.seed(0)
    rng = np.random.default_rng(0)
    symbol = get_symbol(network, 16, **options)
    size = 97 if "conv_6dw7_7_conv2d_weight" in symbol.list_arguments() else 32
    images, goal = mx.nd.array(rng.integers(0, 256, (4, 3, size, size))), mx.nd.array(rng.normal(size=(4, 16)))
    lr = 0.05 if "fc1_gamma" in symbol.list_arguments() else 1e-5  # without normalization embeddings are long
    module = mx.mod.Module(symbol, label_names=None)
    module.bind([("data", images.shape)])
    module.init_params(mx.init.Xavier(rnd_type="gaussian", factor_type="out", magnitude=2))
    module.init_optimizer(optimizer="sgd", optimizer_params={"learning_rate": lr, "rescale_grad": 1.0})
    losses = []
    for _ in range(6):
        module.forward(mx.io.DataBatch([images]), is_train=True)
        error = module.get_outputs()[0] - goal
        losses.append(error.square().mean().asscalar())
        module.backward([error / len(images)])
        module.update()
    assert np.isfinite(losses).all() and losses[-1] < 0.9 * losses[0], losses


@pytest.mark.parametrize(
    "network, net_output", [("mobilefacenet", "GDC"), ("r18", "GDC"), ("r18", "GAP"), ("r18", "GNAP")]
)
def test_inference_can_be_repeated(network, net_output):
    """MXNet's inference on a CPU keeps memory between calls, and fails at the second where a layer does not suit it."""
    executor = get_symbol(network, 32, net_output).simple_bind(mx.cpu(), data=(2, 3, 112, 112), grad_req="null")
    rng = np.random.default_rng(0)
    for name, array in {**executor.arg_dict, **executor.aux_dict}.items():
        array[:] = 1 if name.endswith("_var") else rng.normal(0, 0.1, array.shape)
    first, *others = (executor.forward(is_train=False)[0].asnumpy() for _ in range(3))
    assert np.isfinite(first).all() and first.any()
    for other in others:
        np.testing.assert_array_equal(first, other)
