"""Backbones: symbols from face images to embeddings, chosen by name."""

import functools
import inspect
from typing import Callable, Dict, Optional, Sequence, Union

import mxnet as mx

from . import demo, mobilefacenet, resnet, resnext, small
from .outputs import OUTPUTS

NETWORKS: Dict[str, Callable[..., mx.sym.Symbol]] = {
    "demo": demo.get_symbol,
    "small": small.get_symbol,
    "mobilefacenet": mobilefacenet.get_symbol,
    **{f"r{depth}": functools.partial(resnet.get_symbol, units) for depth, units in resnet.UNITS.items()},
    **{f"rx{depth}": functools.partial(resnext.get_symbol, depth) for depth in resnext.UNITS},
}
# What a network may be asked for beside its name, size and output, with the published defaults.
OPTIONS: Dict[str, Union[int, float, str]] = dict(
    net_se=0, net_act="prelu", net_unit=3, net_input=1, bn_mom=0.9, workspace=256
)
CHOICES: Dict[str, Sequence[Union[int, str]]] = dict(
    net_output=tuple(OUTPUTS), net_se=(0, 1), net_act=("prelu", "relu"), net_unit=(1, 2, 3), net_input=(0, 1, 2)
)


def get_symbol(
    network: str, embedding_size: int = 512, net_output: Optional[str] = None, **options: Union[int, float, str]
) -> mx.sym.Symbol:
    """Return the symbol of a backbone by name.

    Args:
        network: a key of `NETWORKS`: `demo`, `small`, `mobilefacenet`, `r18` to `r269`, `rx50`, `rx101`.
        embedding_size: dimension D of the embeddings.
        net_output: a key of `outputs.OUTPUTS`; None: the network's own, `GDC` of `mobilefacenet`, else `FC` (BN-FC-BN).
        options: keys of `OPTIONS`, all of them as in the published configuration. `net_se`: 1 adds squeeze and
            excitation to every unit. `net_act`: `prelu` or `relu`. `net_unit`: the residual unit, 1, 2 or 3, see
            `units`. `net_input`: 0, 1 or 2, see `resnet.stem`. `bn_mom`: share of the old value in a running statistic
            of batch normalization after an update. `workspace`: MiB for temporary results of a convolution on a GPU.

    Returns:
        A symbol with the input `data`, (N, 3, H, W) float32, RGB in 0..255, and the output `fc1_output`,
        (N, D) float32 embeddings, not normalized; with the output Z the map `dropout0_output`, (N, C, H', W').

    Raises:
        ValueError: unknown network, output or option; the network has no such option.
    """
    _check("network", network, tuple(NETWORKS))
    if net_output is not None:
        options["net_output"] = net_output
    for name, value in options.items():
        _check(name, value, CHOICES.get(name, (value,)))
    build = NETWORKS[network]
    known = inspect.signature(build).parameters
    refused = [name for name, value in options.items() if name not in known and value != OPTIONS.get(name)]
    if refused:
        raise ValueError(f"the network {network} cannot be changed by {', '.join(refused)}")
    # A name manager of its own makes the automatic names (_minusscalar0, _plus3) those of published models,
    # however many symbols the process has built before.
    with mx.name.NameManager():
        return build(embedding_size=embedding_size, **{name: options[name] for name in options if name in known})


def _check(name: str, value: Union[int, float, str], choices: Sequence[Union[int, float, str]]) -> None:
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(map(str, choices))}")
