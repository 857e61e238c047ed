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


def test_networks_that_are_slow_in_bfloat16():
    """By hand, with 256 x 256 pixels: 192 + 64 x 9 x 64 / groups + 64 x more multiply-adds per pixel."""
    pixels = 256 * 256
    shape = 1, 3, 256, 256
    assert why_slow_in_bfloat16(grouped(1), shape) == ""
    assert why_slow_in_bfloat16(grouped(32), shape).startswith(f"{1152 / (192 + 1152):.0%} of the network's work are")
    assert why_slow_in_bfloat16(grouped(32, more=200), shape) == ""  # 8.1 %
    assert why_slow_in_bfloat16(grouped(32, more=140), shape).startswith("11% of the network's work are")
    depthwise = 192 + 64 * 9
    few = f"the network has only {pixels * depthwise / 1e9:.3f} G multiply-adds per image"
    assert why_slow_in_bfloat16(grouped(64), shape).startswith(few)
    assert why_slow_in_bfloat16(grouped(64), (3, *shape[1:])).startswith(few)  # of one image
    missing = int(0.1e9) - pixels * depthwise
    assert why_slow_in_bfloat16(grouped(64), shape, head=missing) == ""
    assert why_slow_in_bfloat16(grouped(64), shape, head=missing - 1)


@pytest.mark.parametrize(
    "name, slow",
    [("demo", "few"), ("small", ""), ("mobilefacenet", ""), ("r18", ""), ("rx50", "groups"), ("rx101", "groups")],
)
def test_the_networks_of_the_table_in_the_docs(name, slow):
    """docs/networks.md has the measured images per second."""
    found = why_slow_in_bfloat16(get_symbol(name, 512), (8, 3, 112, 112))
    assert {"few": "only 0.015 G", "groups": "in groups", "": ""}[slow] in found and bool(found) == bool(slow)
