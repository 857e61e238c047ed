"""Residual networks of InsightFace for 112x112 faces (ArcFace, arXiv 1801.07698, section 3.1)."""

import functools
from typing import Dict, Sequence

import mxnet as mx

from . import units as residual
from .layers import Layers, image_input
from .outputs import OUTPUTS

# Units in each of the four stages, by the number in the name. With two convolutions in a unit, a network is
# 2 * units + 2 layers deep. r49 and r99 have one layer more than their names say; r101, r152, r200 and r269 carry the
# names of the bottleneck networks whose unit counts they took, and are 68, 102, 134 and 180 layers deep.
UNITS: Dict[int, Sequence[int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    49: (3, 4, 14, 3),
    50: (3, 4, 14, 3),
    74: (3, 6, 24, 3),
    90: (3, 8, 30, 3),
    98: (3, 4, 38, 3),
    99: (3, 8, 35, 3),
    100: (3, 13, 30, 3),
    101: (3, 4, 23, 3),
    # The published code has a preset r122, but no such network. This one is 122 layers deep and lies between r100 and
    # r136, which differ from it in the third stage alone.
    122: (3, 13, 41, 3),
    124: (3, 13, 40, 5),
    134: (3, 10, 50, 3),
    136: (3, 13, 48, 3),
    140: (3, 15, 48, 3),
    152: (3, 8, 36, 3),
    160: (3, 24, 49, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
FILTERS = (64, 128, 256, 512)


def get_symbol(
    num_units: Sequence[int],
    embedding_size: int = 512,
    net_output: str = "FC",
    net_se: int = 0,
    net_act: str = "prelu",
    net_unit: int = 3,
    net_input: int = 1,
    bn_mom: float = 0.9,
    workspace: int = 256,
) -> mx.sym.Symbol:
    """A residual network; see `partial_fc.symbol.get_symbol` for all but `num_units`, those of each stage."""
    layers = Layers(net_act, bn_mom, workspace)
    unit = residual.UNITS[net_unit]
    if net_unit == 1 and net_input == 0:
        unit = functools.partial(residual.unit1, stride_first=True)
    body = stem(layers, net_input)
    body = stages(layers, body, unit, num_units, FILTERS, net_se)  # from (N, 64, 112, 112) to (N, 512, 7, 7)
    return OUTPUTS[net_output](layers, body, FILTERS[-1], embedding_size)


def stem(layers: Layers, net_input: int) -> mx.sym.Symbol:
    """The first convolution, to 64 channels.

    Args:
        layers: of the network.
        net_input: 1: (N, 3, H, W) to (N, 64, H, W); 0: the same at half the height and width, with a 7x7 kernel; 2: as
            1, but batch normalization with a fixed gain scales the pixels, instead of constants.
    """
    if net_input == 2:
        body = layers.batch_norm(mx.sym.Variable("data"), "bn_data", fix_gamma=True)
    else:
        body = image_input()
    kernel, stride = (7, 2) if net_input == 0 else (3, 1)
    body = layers.conv(body, FILTERS[0], "conv0", kernel=kernel, stride=stride)
    return layers.activation(layers.batch_norm(body, "bn0"), "relu0")


def stages(
    layers: Layers, body: mx.sym.Symbol, unit: residual.Unit, units: Sequence[int], filters: Sequence[int], net_se: int
) -> mx.sym.Symbol:
    """One stage after the other; the first unit of each halves height and width.

    Args:
        layers: of the network.
        body: the map (N, C, H, W).
        unit: one of `units`.
        units: number of units in each stage.
        filters: channels of each stage.
        net_se: see `units`.
    """
    for stage, (num_units, num_filter) in enumerate(zip(units, filters), start=1):
        for number in range(1, num_units + 1):
            first = number == 1
            body = unit(layers, body, num_filter, 2 if first else 1, first, f"stage{stage}_unit{number}", net_se)
    return body
