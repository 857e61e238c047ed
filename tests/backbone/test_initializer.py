"""Initial values of the backbones, and how far the first update moves them."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc import config as configuration
from partial_fc.backbone.initializer import INITIALIZERS, initialize
from partial_fc.config_keys import KEYS
from partial_fc.data.batches import Batch
from partial_fc.distributed.communicator import Communicator
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.symbol import get_symbol
from partial_fc.training.backbone_update import UpdateRule
from partial_fc.training.module import FaceModule

PUBLISHED = ("mobilefacenet", "r18", "r50", "r100", "rx50")
EMBEDDING_SIZE, BATCH_SIZE = 512, 4


def values(network, initializer, seed=0, size=16):
    """Initial parameters and statistics by name, NumPy."""
    module = mx.mod.Module(get_symbol(network, EMBEDDING_SIZE), label_names=None)
    module.bind([("data", (2, 3, size, size))], for_training=False)
    initialize(module, initializer, seed)
    arrays = module.get_params()
    return {name: array.asnumpy() for part in arrays for name, array in part.items()}


def assert_normal(array, std, name):
    """Mean, standard deviation and the share within one of them lie within five standard errors."""
    drawn = array.ravel()[:100000]
    assert abs(drawn.mean()) < 5 * std / np.sqrt(drawn.size), name
    assert abs(drawn.std() - std) < 5 * std / np.sqrt(2 * drawn.size), name
    assert abs((np.abs(drawn) < std).mean() - 0.6827) < 5 * np.sqrt(0.2167 / drawn.size), name


def constant_of(name):
    """What a parameter that is not drawn begins with."""
    if "relu" in name:
        return 0.25  # slopes
    return float(name.endswith(("_gamma", "_moving_var")))


@pytest.mark.parametrize("network", PUBLISHED)
def test_published_networks_begin_with_the_published_values(network):
    initializer = configuration.get_config("cosface", "emore", network)["initializer"]
    found = values(network, initializer, size=97 if network == "mobilefacenet" else 16)
    weights = {name for name in found if name.endswith("_weight")}
    first, *_, last = (name for name in found if name in weights)
    assert (first, last) in {("conv0_weight", "pre_fc1_weight"), ("conv_1_conv2d_weight", "fc1_weight")}
    for name, array in found.items():
        if name in weights:
            assert_normal(array, 0.1, name)
        else:
            assert (array == constant_of(name)).all(), name


def test_xavier_takes_the_outputs_of_a_layer():
    found = values("r18", "xavier")
    for name, array in found.items():
        if name.endswith("_weight"):
            assert_normal(array, np.sqrt(2 / (array.shape[0] * np.prod(array.shape[2:]))), name)
        else:
            assert (array == constant_of(name)).all(), name


def test_values_are_a_function_of_seed_and_parameter():
    mx.random.seed(3)
    first, other_network, other_seed = values("r18", "normal"), values("r34", "normal"), values("r18", "normal", seed=1)
    common = [name for name in first if name in other_network]
    assert len(common) > 50 and "stage4_unit2_conv2_weight" in common
    assert all(np.array_equal(first[name], other_network[name]) for name in common)
    assert not np.array_equal(first["conv0_weight"], other_seed["conv0_weight"])
    one, two = (first[f"stage4_unit{unit}_conv2_weight"] for unit in (1, 2))
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.01


def test_the_configuration_knows_every_initializer():
    assert set(KEYS["initializer"].choices) == set(INITIALIZERS)


def relative_steps(initializer):
    """How far the first update moves each weight of r18, relative to the weight's norm."""
    bank = MemoryBank(50, EMBEDDING_SIZE, Communicator())
    head = PartialFC(bank, MarginSoftmax(64, m3=0.4), CenterSGD(), Communicator())
    symbol = get_symbol("r18", EMBEDDING_SIZE)
    module = FaceModule(
        symbol, head, Communicator(), mx.cpu(), BATCH_SIZE, 32, rule=UpdateRule(wd=0.0), initializer=initializer
    )
    before = {name: array.asnumpy() for name, array in module.arg_params.items() if name.endswith("_weight")}
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (BATCH_SIZE, 32, 32, 3)).astype(np.uint8)
    module.update(Batch(images, random.randint(0, 50, BATCH_SIZE), np.arange(BATCH_SIZE)), 0, 0.1, 0.1)
    return {
        name: np.linalg.norm(module.arg_params[name].asnumpy() - weight) / np.linalg.norm(weight)
        for name, weight in before.items()
    }


def test_first_steps_of_normalized_layers_go_with_one_over_the_squared_norm():
    """Both draw the same directions, so the ratio of the steps is that of the variances, 0.01 to 2 / outputs."""
    published, xavier = relative_steps("normal"), relative_steps("xavier")
    expected = {"stage2": 5.76, "stage3": 11.52, "stage4": 23.04, "pre_fc1": 2.56}
    for layer, ratio in expected.items():
        names = [name for name in published if name.startswith(layer) and "conv1sc" not in name]
        for name in names:
            assert xavier[name] / published[name] == pytest.approx(ratio, rel=0.02), name
    assert all(0 < step < 1 for step in published.values())
