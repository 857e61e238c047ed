"""MobileFaceNet (arXiv 1804.07573), a network of a million parameters for CPUs and phones."""

import mxnet as mx

from .layers import Layers, image_input
from .outputs import OUTPUTS, depthwise

_EPS = 1e-3  # of batch normalization, as published: MXNet's own default
_FILTERS = 64  # of the first two convolutions
_LAST_FILTERS = 512
# Names of the bottleneck with stride 2 and of those with a shortcut behind it; their channels; channels inside the
# first and inside the others; how many others.
_STAGES = (
    ("dconv_23", "res_3", 64, 128, 128, 4),
    ("dconv_34", "res_4", 128, 256, 256, 6),
    ("dconv_45", "res_5", 128, 512, 256, 2),
)


def get_symbol(
    embedding_size: int = 512,
    net_output: str = "GDC",
    net_act: str = "prelu",
    bn_mom: float = 0.9,
    workspace: int = 256,
) -> mx.sym.Symbol:
    """MobileFaceNet; see `partial_fc.symbol.get_symbol`.

    Names of the layers are those of InsightFace's MobileFaceNet, whose output is GDC. With GDC, height and width of the
    images are 97 or more.
    """
    layers = Layers(net_act, bn_mom, workspace)
    body = _conv(layers, image_input(), _FILTERS, "conv_1", stride=2)
    body = _conv(layers, body, _FILTERS, "conv_2_dw", num_group=_FILTERS)
    for halving, residual, num_filter, wide, wide_residual, num_blocks in _STAGES:
        body = _bottleneck(layers, body, num_filter, wide, 2, halving)
        for block in range(num_blocks):
            body = _bottleneck(layers, body, num_filter, wide_residual, 1, f"{residual}_block{block}") + body
    body = _conv(layers, body, _LAST_FILTERS, "conv_6sep", kernel=1)  # (N, 512, 7, 7) for 112x112
    if net_output == "GDC":  # the published model has this name for the weight of the layer pre_fc1
        return depthwise(layers, body, _LAST_FILTERS, embedding_size, mx.sym.Variable("fc1_weight"))
    return OUTPUTS[net_output](layers, body, _LAST_FILTERS, embedding_size)


def _bottleneck(
    layers: Layers, data: mx.sym.Symbol, num_filter: int, wide: int, stride: int, name: str
) -> mx.sym.Symbol:
    """To more channels, a depthwise convolution there, and back to few without an activation."""
    body = _conv(layers, data, wide, name + "_conv_sep", kernel=1)
    body = _conv(layers, body, wide, name + "_conv_dw", stride=stride, num_group=wide)
    return _linear(layers, body, num_filter, name + "_conv_proj", kernel=1)


def _conv(
    layers: Layers,
    data: mx.sym.Symbol,
    num_filter: int,
    name: str,
    kernel: int = 3,
    stride: int = 1,
    num_group: int = 1,
) -> mx.sym.Symbol:
    return layers.activation(_linear(layers, data, num_filter, name, kernel, stride, num_group), name + "_relu")


def _linear(
    layers: Layers,
    data: mx.sym.Symbol,
    num_filter: int,
    name: str,
    kernel: int = 3,
    stride: int = 1,
    num_group: int = 1,
) -> mx.sym.Symbol:
    body = layers.conv(data, num_filter, name + "_conv2d", kernel, stride, num_group)
    return layers.batch_norm(body, name + "_batchnorm", eps=_EPS)
