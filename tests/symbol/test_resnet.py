"""The residual networks: what the lists of published parameters do not show."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.symbol import get_symbol, resnet, resnext


def num_layers(symbol):
    """Convolutions and fully connected layers, but for projections and squeeze and excitation."""
    weights = [name for name in symbol.list_arguments() if name.endswith("_weight")]
    return sum("sc_weight" not in name and "_se_" not in name and name != "convd_weight" for name in weights)


@pytest.mark.parametrize("depth", resnet.UNITS)
def test_depth_is_the_name_or_as_documented(depth):
    documented = {49: 50, 99: 100, 101: 68, 152: 102, 200: 134, 269: 180}
    assert num_layers(get_symbol(f"r{depth}")) == documented.get(depth, depth)


@pytest.mark.parametrize("depth", resnext.UNITS)
def test_resnext_is_as_deep_as_its_name_and_has_32_groups(depth):
    symbol = get_symbol(f"rx{depth}")
    assert num_layers(symbol) == depth
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(1, 3, 112, 112))[0]))
    for stage, num_filter in enumerate(resnext.FILTERS, start=1):
        half, name = num_filter // 2, f"stage{stage}_unit2"
        assert shapes[f"{name}_conv1_weight"] == (half, num_filter // 32, 1, 1)
        assert shapes[f"{name}_conv2_weight"] == (half, half // 32, 3, 3)
        assert shapes[f"{name}_conv3_weight"] == (num_filter, half, 1, 1)
    assert shapes["convd_weight"] == (512, 2048, 1, 1) and shapes["pre_fc1_weight"] == (512, 512 * 7 * 7)


def test_r122_lies_between_its_neighbors():
    sizes = []
    for network in ("r100", "r122", "r136"):
        symbol = get_symbol(network)
        sizes.append(sum(np.prod(shape) for shape in symbol.infer_shape(data=(1, 3, 112, 112))[0]))
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("options, network", [({}, "r18"), ({"net_unit": 1, "net_input": 0}, "r18"), ({}, "rx50")])
def test_stages_put_the_units_together(options, network):
    """The first unit of a stage halves the image and projects; the others do neither."""
    inner = get_symbol(network, **options).get_internals()
    names = inner.list_outputs()
    shapes = dict(zip(names, inner.infer_shape(data=(1, 3, 112, 112))[1]))
    size, widest, last = 112, 512, "conv2"
    if network == "rx50":
        widest, last = 2048, "conv3"
    if options.get("net_input") == 0:
        size = 56
    for stage in range(1, 5):
        size = (size + 1) // 2
        assert f"stage{stage}_unit1_conv1sc_output" in names and f"stage{stage}_unit2_conv1sc_output" not in names
        for unit in (1, 2):
            assert shapes[f"stage{stage}_unit{unit}_{last}_output"] == (1, widest >> 4 - stage, size, size)
    # the convolution of the unit that halves the image
    assert shapes["stage4_unit1_conv1_output"][2] == (4 if options else 14)


@pytest.mark.parametrize("is_train", [False, True])
def test_forward_of_raw_images_is_finite(is_train):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 112, 112))
    module = mx.mod.Module(get_symbol("r18"), label_names=None)
    module.bind([("data", images.shape)], for_training=is_train)
    module.init_params(mx.init.Xavier(rnd_type="gaussian", factor_type="out", magnitude=2))
    module.forward(mx.io.DataBatch([mx.nd.array(images)]))
    embeddings = module.get_outputs()[0].asnumpy()
    assert embeddings.shape == (2, 512)
    assert np.isfinite(embeddings).all() and embeddings.std() > 1e-3
