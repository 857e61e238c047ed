import mxnet as mx
import pytest

from partial_fc.backbone.fast import fast_symbol
from partial_fc.planning.network import multiply_adds, network, why_slow_in_bfloat16
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
    assert (conv.reads, norm.reads, dense.reads, conv.groups) == (3, 0, 128, 1)
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


def grouped(num_group, more=0):
    """A convolution of 64 channels in groups, and a convolution of one pixel of `more` channels."""
    data = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(1, 1), num_filter=64, name="first")
    body = mx.sym.Convolution(data, kernel=(3, 3), pad=(1, 1), num_filter=64, num_group=num_group, name="groups")
    return mx.sym.Convolution(body, kernel=(1, 1), num_filter=more, name="last") if more else body


def test_convolutions_in_groups_are_slow_in_bfloat16():
    """By hand, multiply-adds per pixel: 3 x 64 + 9 x 64 x 64 / groups + 64 x more."""
    assert why_slow_in_bfloat16(grouped(1), 16) == ""
    assert why_slow_in_bfloat16(grouped(32), 16).startswith("86% of the network's work are convolutions in groups")
    assert why_slow_in_bfloat16(grouped(32, more=140), 16).startswith("11% of the network's work are")
    assert why_slow_in_bfloat16(grouped(32, more=200), 16) == ""  # 8.1 %
    assert why_slow_in_bfloat16(grouped(64), 16) == ""  # depthwise


def test_layers_that_do_not_gain_are_slow_in_bfloat16():
    """Of 16 x 16 pixels: the first convolution has 3 channels, the second 16 or 32, the layer is fully connected."""

    def network(channels, num_hidden):
        body = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(1, 1), num_filter=channels, name="first")
        body = mx.sym.Convolution(body, kernel=(3, 3), pad=(1, 1), num_filter=64, name="second")
        return mx.sym.FullyConnected(body, num_hidden=num_hidden, name="dense")

    pixels = 256
    assert why_slow_in_bfloat16(network(16, 1), 16).startswith("100% of the network's work are fully connected")
    assert why_slow_in_bfloat16(network(32, 100), 16) == ""  # 26 %
    share = (3 * 32 + 64 * 256) / (3 * 32 + 64 * 256 + 9 * 32 * 64)
    assert why_slow_in_bfloat16(network(32, 256), 16).startswith(f"{share:.0%} of the network's work")
    slow, rest = pixels * (3 * 32 + 64 * 256), pixels * 9 * 32 * 64
    head = int(slow / 0.4) - slow - rest  # of the head's work all gains
    assert why_slow_in_bfloat16(network(32, 256), 16, head + 1) == ""
    assert why_slow_in_bfloat16(network(32, 256), 16, head - 1).startswith("40% of")


@pytest.mark.parametrize(
    "name, size, slow",
    [
        ("demo", 112, "53% of the network's work are fully connected"),
        ("demo", 448, "53% of the network's work are fully connected"),
        ("small", 16, ""),
        ("small", 112, ""),
        ("mobilefacenet", 112, ""),
        ("r18", 112, ""),
        ("rx50", 112, "18% of the network's work are convolutions in groups"),
        ("rx101", 112, "17% of the network's work are convolutions in groups"),
    ],
)
def test_the_networks_of_the_tables_in_the_docs(name, size, slow):
    """docs/networks.md has the measured images per second."""
    found = why_slow_in_bfloat16(get_symbol(name, 512), size)
    assert found.startswith(slow) and bool(found) == bool(slow)
