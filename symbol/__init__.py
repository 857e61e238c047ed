"""Backbones: symbols from face images to embeddings, chosen by name."""

import functools

import mxnet as mx

from . import demo, resnet

NETWORKS = {"demo": demo.get_symbol}
NETWORKS.update({f"r{depth}": functools.partial(resnet.get_symbol, units) for depth, units in resnet.UNITS.items()})


def get_symbol(network, embedding_size=512, output_type="FC"):
    """Return the symbol of a backbone by name.

    Args:
        network: a key of `NETWORKS`: `demo`, or `r18` to `r200`.
        embedding_size: dimension D of the embeddings.
        output_type: `FC` (BN-FC-BN) or `E` (BN-Dropout-FC-BN).

    Returns:
        A symbol with the input `data`, (N, 3, H, W) float32, RGB in 0..255, and the output `fc1_output`,
        (N, D) float32 embeddings, not normalised.

    Raises:
        ValueError: unknown network or output type.
    """
    if network not in NETWORKS:
        raise ValueError(f"unknown network {network!r}: choose one of {', '.join(NETWORKS)}")
    # A name manager of its own makes the automatic names (_minusscalar0, _plus3) those of published models,
    # however many symbols the process has built before.
    with mx.name.NameManager():
        return NETWORKS[network](embedding_size=embedding_size, output_type=output_type)
