"""The backbone that a configuration describes."""

import mxnet as mx

from ..config import Config
from ..errors import InputError
from ..symbol import OPTIONS, get_symbol

# Kinds of networks that have a number of layers, and how their names begin.
_WITH_LAYERS = {"resnet": "r", "fresnext": "rx"}


def network_name(config: Config) -> str:
    """Name of the network: a key of `symbol.NETWORKS`, if there is such a network.

    Raises:
        InputError: a number of layers for a kind of network that has one size.
    """
    kind = config.net_name or config.network
    if kind in _WITH_LAYERS:
        return f"{_WITH_LAYERS[kind]}{config.num_layers}"
    if config.num_layers:
        raise InputError(f"num_layers={config.num_layers}: goes with net_name resnet or fresnext, not with {kind}")
    return kind


def network_symbol(config: Config, network: str = "") -> mx.sym.Symbol:
    """The symbol of the network, or of another one with the same options.

    Args:
        config: its `net_...`, `num_layers`, `bn_mom`, `workspace` and `embedding_size` are used.
        network: a key of `symbol.NETWORKS`; empty: the configuration's own.

    Raises:
        InputError: there is no such network, or it has no such option.
    """
    options = {key: getattr(config, key) for key in OPTIONS}
    name = network or network_name(config)
    try:
        return get_symbol(name, config.embedding_size, config.net_output, **options)
    except ValueError as error:
        raise InputError(f"--network {config.network}: {error}") from None
