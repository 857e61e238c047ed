"""The residual units: what is added to a map, and the shortcut that it is added to.

Every unit takes the Layers, the map (N, C, H, W), the number of output channels, the stride, whether the shortcut is a
projection (needed where the shape changes) or the map itself, the prefix of the layers' names, and `net_se`: whether
squeeze and excitation weights the channels. It returns (N, num_filter, H / stride, W / stride), rounded up.
"""

from typing import Callable, Dict

import mxnet as mx

from .layers import Layers

Unit = Callable[..., mx.sym.Symbol]

_SQUEEZE = 16  # channels per channel of the squeezed description
RESNEXT_GROUPS = 32


def unit1(
    layers: Layers,
    data: mx.sym.Symbol,
    num_filter: int,
    stride: int,
    project: bool,
    name: str,
    net_se: int,
    stride_first: bool = False,
) -> mx.sym.Symbol:
    """Conv-BN-Act-Conv-BN plus the shortcut, then Act (arXiv 1512.03385).

    The stride is in the second convolution, as in networks that see the image in full size (`net_input` 1 and 2);
    `stride_first`: in the first one, as in those that halve it at once (`net_input` 0).
    """
    body = layers.conv(data, num_filter, name + "_conv1", stride=stride if stride_first else 1)
    body = layers.activation(layers.batch_norm(body, name + "_bn1"), name + "_relu1")
    body = layers.conv(body, num_filter, name + "_conv2", stride=1 if stride_first else stride)
    body = _excited(layers, layers.batch_norm(body, name + "_bn2"), num_filter, name, net_se)
    shortcut = _projection(layers, data, num_filter, stride, name) if project else data
    return layers.activation(body + shortcut, name + "_relu3")


def unit2(
    layers: Layers, data: mx.sym.Symbol, num_filter: int, stride: int, project: bool, name: str, net_se: int
) -> mx.sym.Symbol:
    """BN-Act-Conv-BN-Act-Conv plus the shortcut, a convolution of the first activation (arXiv 1603.05027)."""
    first = layers.activation(layers.batch_norm(data, name + "_bn1"), name + "_relu1")
    body = layers.conv(first, num_filter, name + "_conv1", stride=stride)
    body = layers.activation(layers.batch_norm(body, name + "_bn2"), name + "_relu2")
    body = _excited(layers, layers.conv(body, num_filter, name + "_conv2"), num_filter, name, net_se)
    shortcut = layers.conv(first, num_filter, name + "_sc", kernel=1, stride=stride) if project else data
    return body + shortcut


def unit3(
    layers: Layers, data: mx.sym.Symbol, num_filter: int, stride: int, project: bool, name: str, net_se: int
) -> mx.sym.Symbol:
    """BN-Conv-BN-Act-Conv-BN plus the shortcut (ArcFace, arXiv 1801.07698, section 3.1).

    The stride is in the second convolution.
    """
    body = layers.conv(layers.batch_norm(data, name + "_bn1"), num_filter, name + "_conv1")
    body = layers.activation(layers.batch_norm(body, name + "_bn2"), name + "_relu1")
    body = layers.conv(body, num_filter, name + "_conv2", stride=stride)
    body = _excited(layers, layers.batch_norm(body, name + "_bn3"), num_filter, name, net_se)
    return body + (_projection(layers, data, num_filter, stride, name) if project else data)


def resnext_unit(
    layers: Layers, data: mx.sym.Symbol, num_filter: int, stride: int, project: bool, name: str, net_se: int
) -> mx.sym.Symbol:
    """The unit of ResNeXt (arXiv 1611.05431): three convolutions, the first two half as wide and in 32 groups.

    As published for these networks, batch normalization begins and ends it as in `unit3`, and the stride is in the last
    convolution.
    """
    half = num_filter // 2
    body = layers.batch_norm(data, name + "_bn1")
    body = layers.conv(body, half, name + "_conv1", kernel=1, num_group=RESNEXT_GROUPS)
    body = layers.activation(layers.batch_norm(body, name + "_bn2"), name + "_relu1")
    body = layers.conv(body, half, name + "_conv2", num_group=RESNEXT_GROUPS)
    body = layers.activation(layers.batch_norm(body, name + "_bn3"), name + "_relu2")
    body = layers.conv(body, num_filter, name + "_conv3", kernel=1, stride=stride)
    body = _excited(layers, layers.batch_norm(body, name + "_bn4"), num_filter, name, net_se)
    return body + (_projection(layers, data, num_filter, stride, name) if project else data)


def _projection(layers: Layers, data: mx.sym.Symbol, num_filter: int, stride: int, name: str) -> mx.sym.Symbol:
    shortcut = layers.conv(data, num_filter, name + "_conv1sc", kernel=1, stride=stride)
    return layers.batch_norm(shortcut, name + "_sc")


def _excited(layers: Layers, data: mx.sym.Symbol, num_filter: int, name: str, net_se: int) -> mx.sym.Symbol:
    """Squeeze and excitation (arXiv 1709.01507) where `net_se` asks for it: a factor in 0..1 per image and channel."""
    if not net_se:
        return data
    name += "_se"
    factor = mx.sym.Pooling(data, global_pool=True, kernel=(7, 7), pool_type="avg", name=name + "_pool1")
    factor = layers.conv(factor, num_filter // _SQUEEZE, name + "_conv1", kernel=1, bias=True)
    factor = layers.activation(factor, name + "_relu1")
    factor = layers.conv(factor, num_filter, name + "_conv2", kernel=1, bias=True)
    factor = mx.sym.Activation(factor, act_type="sigmoid", name=name + "_sigmoid")  # (N, num_filter, 1, 1)
    return mx.sym.broadcast_mul(data, factor)


UNITS: Dict[int, Unit] = {1: unit1, 2: unit2, 3: unit3}  # by `net_unit`
