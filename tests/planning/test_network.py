import mxnet as mx
import pytest

from partial_fc.backbone.fast import fast_symbol
from partial_fc.planning.network import multiply_adds, network
from partial_fc.symbol import get_symbol


def small():
    """A convolution of 3 to 8 channels, batch normalization, a fully connected layer: images of 4 x 4."""
    data = mx.sym.Variable("data")
    body = mx.sym.Convolution(data, kernel=(3, 3), pad=(1, 1), num_filter=8, no_bias=True, name="conv")
    body = mx.sym.BatchNorm(body, name="norm")
    return mx.sym.FullyConnected(body, num_hidden=5, no_bias=True, name="fc")


def test_work_by_hand():
    found = network(small(), 4)
    conv, norm, dense = found.operators
    assert found.parameters == 8 * 27 + 2 * 8 + 5 * 128
    assert [each.op for each in found.operators] == ["Convolution", "BatchNorm", "FullyConnected"]
    assert [each.flops for each in found.operators] == [6 * 16 * 8 * 27, 0, 6 * 128 * 5]
    # forward: inputs and output; backward: inputs, their gradients, the output's gradient
    assert conv.moved == 4 * (3 * 48 + 2 * 128) and conv.weight == 3 * 4 * 8 * 27
    assert norm.moved == 4 * (3 * 128 + 2 * 128 + 3 * 128) and norm.weight == 3 * 4 * 4 * 8
    assert dense.moved == 4 * (3 * 128 + 2 * 5) and dense.weight == 3 * 4 * 640
    assert (conv.width, conv.channels, dense.width, dense.channels) == (4, 8, 1, 5)
    assert multiply_adds(small(), 4) == 16 * 8 * 27 + 128 * 5


@pytest.mark.parametrize("name, billions", [("r18", 2.61), ("r50", 6.31), ("mobilefacenet", 0.2212)])
def test_work_of_networks(name, billions):
    assert multiply_adds(get_symbol(name, 512), 112) == pytest.approx(billions * 1e9, rel=0.01)


def test_low_precision_moves_half():
    symbol = get_symbol("r18", 512)
    exact, low = (network(fast_symbol(symbol, mx.gpu(0), precision), 112) for precision in ("float32", "float16"))
    moved = [sum(each.moved for each in work.operators) for work in (exact, low)]
    assert moved[1] == pytest.approx(moved[0] / 2, rel=0.02)
    assert low.parameters == exact.parameters
    assert sum(each.flops for each in low.operators) == sum(each.flops for each in exact.operators)
    assert {each.is_low for each in low.operators if each.op == "Convolution"} == {True}
