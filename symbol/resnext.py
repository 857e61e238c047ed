"""ResNeXt (arXiv 1611.05431) with 32 groups, built of the unit that InsightFace published for it."""

from typing import Dict, Sequence

import mxnet as mx

from .layers import Layers
from .outputs import OUTPUTS
from .resnet import stages, stem
from .units import resnext_unit

# Units in each stage. The published presets rx50 and rx101 have no network; these are as deep as their names say, with
# the unit counts of the paper: three convolutions in a unit, 3 * units + 2 layers.
UNITS: Dict[int, Sequence[int]] = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
FILTERS = (256, 512, 1024, 2048)
_LAST_FILTERS = 512


def get_symbol(
    depth: int,
    embedding_size: int = 512,
    net_output: str = "FC",
    net_se: int = 0,
    net_act: str = "prelu",
    net_input: int = 1,
    bn_mom: float = 0.9,
    workspace: int = 256,
) -> mx.sym.Symbol:
    """A ResNeXt; see `partial_fc.symbol.get_symbol` for all but `depth`, a key of `UNITS`.

    A 1x1 convolution brings the last map to 512 channels, as the published code does behind wide units.
    """
    layers = Layers(net_act, bn_mom, workspace)
    body = stages(layers, stem(layers, net_input), resnext_unit, UNITS[depth], FILTERS, net_se)  # (N, 2048, 7, 7)
    body = layers.batch_norm(layers.conv(body, _LAST_FILTERS, "convd", kernel=1), "bnd")
    body = layers.activation(body, "relud")
    return OUTPUTS[net_output](layers, body, _LAST_FILTERS, embedding_size)
