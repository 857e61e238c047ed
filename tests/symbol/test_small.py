"""The residual network between the demo's and r18."""

import numpy as np
import pytest

from partial_fc.symbol import get_symbol

from helpers import network_reference as reference
from helpers.against_reference import bind, close

UNIT = (
    "bn1_gamma bn1_beta conv1_weight bn2_gamma bn2_beta conv2_weight bn3_gamma bn3_beta conv1sc_weight sc_gamma sc_beta"
)


def test_parameters():
    symbol = get_symbol("small", 512)
    names = [f"stage{stage}_unit1_{name}" for stage in (1, 2, 3) for name in UNIT.split()]
    first = ["data", "conv0_weight", "bn0_gamma", "bn0_beta"]
    last = ["bn1_gamma", "bn1_beta", "pre_fc1_weight", "pre_fc1_bias", "fc1_gamma", "fc1_beta"]
    assert symbol.list_arguments() == [*first, *names, *last]
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(1, 3, 112, 112))[0]))
    assert shapes["conv0_weight"] == (32, 3, 3, 3)
    for stage, (before, after) in enumerate([(32, 64), (64, 128), (128, 256)], start=1):
        assert shapes[f"stage{stage}_unit1_conv1_weight"] == (after, before, 3, 3)
        assert shapes[f"stage{stage}_unit1_conv2_weight"] == (after, after, 3, 3)
        assert shapes[f"stage{stage}_unit1_conv1sc_weight"] == (after, before, 1, 1)
    assert shapes["pre_fc1_weight"] == (512, 256 * 7 * 7)


@pytest.mark.parametrize("height, width, places", [(16, 16, 1), (112, 112, 49), (112, 96, 42), (50, 50, 16)])
def test_four_halvings_rounded_up(height, width, places):
    symbol = get_symbol("small", 32)
    shapes, outputs, _ = symbol.infer_shape(data=(2, 3, height, width))
    assert dict(zip(symbol.list_arguments(), shapes))["pre_fc1_weight"] == (32, 256 * places)
    assert outputs == [(2, 32)]


@pytest.mark.parametrize("is_train", [False, True])
def test_values_are_those_of_numpy(is_train):
    rng = np.random.default_rng(0)
    executor, params = bind(get_symbol("small", 32), rng.integers(0, 256, (3, 3, 48, 48)), rng)
    expected = reference.small(reference.Reference(params, is_train, relu=True), params["data"])
    assert close(executor.forward(is_train=is_train)[0].asnumpy(), expected, 1e-4)
