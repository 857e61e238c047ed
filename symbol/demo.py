"""A small convolutional network that a CPU trains in minutes."""

import mxnet as mx

from .layers import Layers, image_input
from .outputs import OUTPUTS

# Output channels of each convolution; multiples of 8 suit the CPU's vector units.
FILTERS = (16, 32, 64, 128)


def get_symbol(
    embedding_size: int = 512, net_output: str = "FC", bn_mom: float = 0.9, workspace: int = 256
) -> mx.sym.Symbol:
    """One Conv-BN-ReLU of stride 2 for each number of filters: 16 times smaller after four.

    See `partial_fc.symbol.get_symbol`. Height and width of the images are multiples of 16.
    """
    # On a CPU MXNet's PReLU would take most of a training step.
    layers = Layers("relu", bn_mom, workspace)
    body = image_input()
    for stage, num_filter in enumerate(FILTERS, start=1):
        body = layers.conv(body, num_filter, f"stage{stage}_conv", stride=2)
        body = layers.activation(layers.batch_norm(body, f"stage{stage}_bn"), f"stage{stage}_relu")
    return OUTPUTS[net_output](layers, body, FILTERS[-1], embedding_size)
