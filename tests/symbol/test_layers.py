"""The input scaling and the embedding, which all backbones share."""

import json

import mxnet as mx
import numpy as np
import pytest

from partial_fc.symbol import get_symbol

SHAPE = (4, 3, 32, 32)


def bind(symbol, images):
    """An executor with random parameters, the same each time, fed with `images`."""
    rng = np.random.default_rng(0)
    executor = symbol.simple_bind(mx.cpu(), data=images.shape)
    for name, array in executor.arg_dict.items():
        array[:] = images if name == "data" else rng.uniform(0.1, 0.3, array.shape)
    for name, array in executor.aux_dict.items():
        array[:] = float(name.endswith("var"))
    return executor


def dropout_output(is_train, seed=None):
    """The input and the output of the dropout of an E embedding, one forward pass."""
    inner = get_symbol("demo", 16, "E").get_internals()
    group = mx.sym.Group([inner["bn1_output"], inner["dropout0_output"]])
    executor = bind(group, np.random.default_rng(1).uniform(0, 255, SHAPE))
    if seed is not None:
        mx.random.seed(seed)
    before, after = executor.forward(is_train=is_train)
    return before.asnumpy(), after.asnumpy()


@pytest.mark.parametrize("network", ["demo", "r18"])
def test_scaling_is_inside_the_symbol(network):
    inner = get_symbol(network, 16).get_internals()
    first_conv = next(name for name in inner.list_outputs() if "conv" in name and name.endswith("_output"))
    images = np.full(SHAPE, 127.5)
    assert not bind(inner[first_conv], images).forward()[0].asnumpy().any()
    images[:] = np.random.default_rng(1).integers(0, 256, SHAPE)
    images[0, 0, 0, :2] = 0, 255
    scaled = bind(inner["_mulscalar0_output"], images).forward()[0].asnumpy()
    np.testing.assert_allclose(scaled, (images - 127.5) / 128, rtol=1e-6)


def test_names_of_automatic_nodes_do_not_depend_on_what_was_built_before():
    first, second = (get_symbol("r18", net_output="E").tojson() for _ in range(2))
    assert first == second
    # InsightFace's ONNX loader looks for these prefixes to see that a model scales its own input.
    names = get_symbol("r18").get_internals().list_outputs()
    assert {"_minusscalar0_output", "_mulscalar0_output"} < set(names)


@pytest.mark.parametrize("network", ["demo", "r18"])
@pytest.mark.parametrize("net_output", ["FC", "E"])
def test_embedding_shape_and_output_name(network, net_output):
    symbol = get_symbol(network, 64, net_output)
    assert symbol.list_outputs() == ["fc1_output"]
    assert symbol.infer_shape(data=(5, 3, 112, 112))[1] == [(5, 64)]
    has_dropout = any("dropout" in name for name in symbol.get_internals().list_outputs())
    assert has_dropout == (net_output == "E")
    assert symbol.attr_dict()["pre_fc1"]["flatten"] == "True"


def test_dropout_is_active_in_training_only():
    before, after = dropout_output(is_train=False)
    np.testing.assert_array_equal(before, after)
    before, after = dropout_output(is_train=True)
    kept = after != 0
    assert abs(kept.mean() - 0.6) < 0.05
    np.testing.assert_allclose(after[kept], before[kept] / 0.6, rtol=1e-5)


def test_dropout_follows_the_seed():
    first, again, other = (dropout_output(is_train=True, seed=seed)[1] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_every_batch_norm_has_the_published_settings():
    nodes = json.loads(get_symbol("r18", net_output="E").tojson())["nodes"]
    norms = {node["name"]: node["attrs"] for node in nodes if node["op"] == "BatchNorm"}
    assert len(norms) == 3 * 8 + 4 + 3  # units, projections, bn0 bn1 fc1
    for name, attrs in norms.items():
        assert float(attrs["eps"]) == 2e-5 and float(attrs["momentum"]) == 0.9
        assert attrs["fix_gamma"] == str(name == "fc1")


def test_weight_decay_leaves_the_fixed_gain_at_one():
    module = mx.mod.Module(get_symbol("demo", 16), label_names=None)
    module.bind([("data", SHAPE)])
    module.init_params(mx.init.Xavier())
    module.init_optimizer(optimizer="sgd", optimizer_params={"wd": 0.1, "learning_rate": 0.1})
    module.forward(mx.io.DataBatch([mx.nd.ones(SHAPE)]), is_train=True)
    module.backward([mx.nd.ones((SHAPE[0], 16))])
    module.update()
    params = module.get_params()[0]
    assert (params["fc1_gamma"].asnumpy() == 1).all()
    assert (params["bn1_gamma"].asnumpy() != 1).all()
