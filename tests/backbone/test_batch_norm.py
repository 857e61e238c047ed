"""Batch normalization of a single value per channel."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.backbone.batch_norm import check_batch_norm
from partial_fc.errors import InputError
from partial_fc.symbol import NETWORKS, get_symbol


def network(*shape, **settings):
    """Batch normalization of features (b, *shape)."""
    data = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=int(np.prod(shape)), flatten=True, name="fc")
    return mx.sym.BatchNorm(mx.sym.reshape(data, (0, *shape)), name="norm", **settings)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_our_networks_need_two_images(name):
    symbol = get_symbol(name)
    with pytest.raises(InputError, match=r"batch_size 1: the batch normalization \w+ would .*at least 2 images"):
        check_batch_norm(symbol, (1, 3, 112, 112))
    check_batch_norm(symbol, (2, 3, 112, 112))


def test_the_first_layer_that_sees_one_value_is_named():
    with pytest.raises(InputError, match=r"stage4_bn .*\(1x128x1x1\)"):
        check_batch_norm(get_symbol("demo"), (1, 3, 16, 16))


@pytest.mark.parametrize(
    "shape, settings", [((5,), {}), ((5, 1, 1), {}), ((1, 1, 5), dict(axis=3)), ((1, 5), dict(axis=-1))]
)
def test_one_value_per_channel_gives_a_constant_and_is_refused(shape, settings):
    symbol = network(*shape, **settings)
    executor = symbol.simple_bind(mx.cpu(), data=(1, 3, 4, 4))
    outputs = []
    for seed in range(2):
        random = np.random.RandomState(seed)
        for name in ("data", "fc_weight", "norm_gamma"):
            executor.arg_dict[name][:] = random.normal(size=executor.arg_dict[name].shape)
        executor.arg_dict["norm_beta"][:] = 0.5
        outputs.append(executor.forward(is_train=True)[0].asnumpy())
    assert all((output == 0.5).all() for output in outputs)
    with pytest.raises(InputError, match="norm would see a single value"):
        check_batch_norm(symbol, (1, 3, 4, 4))


@pytest.mark.parametrize(
    "symbol", [network(5, 1, 2), network(1, 2, 5, axis=3), network(5, use_global_stats=True), mx.sym.Variable("data")]
)
def test_what_learns_from_one_image_passes(symbol):
    check_batch_norm(symbol, (1, 3, 4, 4))
