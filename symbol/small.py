"""A residual network between `demo` and `r18`, for faces of 112x112 pixels on a CPU."""

import mxnet as mx

from .layers import Layers, image_input
from .outputs import OUTPUTS
from .resnet import stages
from .units import unit3

STEM_FILTERS, FILTERS, UNITS = 32, (64, 128, 256), (1, 1, 1)


def get_symbol(
    embedding_size: int = 512, net_output: str = "FC", bn_mom: float = 0.9, workspace: int = 256
) -> mx.sym.Symbol:
    """A Conv-BN-ReLU of stride 2, then the units of InsightFace's residual networks, one for each halving of the image.

    See `partial_fc.symbol.get_symbol`. ReLU, since a CPU is slow at PReLU.
    """
    layers = Layers("relu", bn_mom, workspace)
    body = layers.conv(image_input(), STEM_FILTERS, "conv0", stride=2)
    body = layers.activation(layers.batch_norm(body, "bn0"), "relu0")
    body = stages(layers, body, unit3, UNITS, FILTERS, net_se=0)  # from (N, 32, 56, 56) to (N, 256, 7, 7)
    return OUTPUTS[net_output](layers, body, FILTERS[-1], embedding_size)
