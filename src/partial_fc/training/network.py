"""The backbone that a configuration names: one of ours, or a network of the user's in PREFIX-symbol.json."""

import logging
import os
from typing import Dict, Tuple

import mxnet as mx

from ..backbone.initializer import INITIALIZERS
from ..backbone.pixels import pixels_of, with_scaling
from ..backbone.shapes import infer_shapes
from ..checkpoint.model_files import model_paths
from ..checkpoint.symbol_file import load_symbol
from ..config import Config, preset
from ..errors import InputError, cause
from ..eval.model import embedding_output
from ..files import refuse_pointer
from ..symbol import NETWORKS, OPTIONS, get_symbol

log = logging.getLogger("partial_fc")

_INPUT = "data"
_DECAY = ("_weight", "_gamma")  # what MXNet's weight decay acts on
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
        raise InputError(f"num_layers={config.num_layers}: is for net_name resnet or fresnext, not for {kind}")
    return kind


def network_symbol(config: Config, network: str = "") -> mx.sym.Symbol:
    """The symbol of the network, or of another one with the same options.

    Args:
        config: its `net_...`, `num_layers`, `bn_mom`, `workspace` and `embedding_size` are used.
        network: a key of `symbol.NETWORKS`; empty: the configuration's own.

    Raises:
        InputError: there is no such network, or it has no such option; a network of the user's has none.
    """
    if not network and is_own(config.network):
        _check_unchanged(config)
        return _own_symbol(config)
    name = network or network_name(config)
    options = {key: getattr(config, key) for key in OPTIONS}
    try:
        return get_symbol(name, config.embedding_size, config.net_output, **options)
    except ValueError as error:
        raise InputError(f"--network {config.network}: {error}") from None


def is_own(network: str) -> bool:
    """Whether the name of a network is the PREFIX of one of the user's."""
    return network not in NETWORKS and os.path.isfile(model_paths(network)[0])


def _check_unchanged(config: Config) -> None:
    """Raise InputError for keys that describe one of our networks, where the network is one of the user's."""
    if config.net_name:
        raise InputError(
            f"net_name={config.net_name}: names another network than --network {config.network}: --set net_name="
        )
    usual = preset(config.loss, config.dataset, config.network, config.presets)
    for key in ("num_layers", "net_output", *OPTIONS):
        if getattr(config, key) != usual[key]:
            raise InputError(
                f"{key}={getattr(config, key)}: does not change --network {config.network}, which is read from a file: "
                f"leave it at {usual[key]}"
            )


def _own_symbol(config: Config) -> mx.sym.Symbol:
    """The symbol of a network of the user's, from raw RGB images (b, 3, H, W) to embeddings (b, D).

    Gluon's `net.export(PREFIX)` writes such. The output is `fc1_output` if there is one, or else the only output. A
    symbol that does not scale the pixels itself gets the scaling in front.

    Raises:
        InputError: naming the file: see `load_symbol`; no input `data`; an output that is not (b, D) with D the
            `embedding_size`; parameters without a rule for their initial values.
    """
    path, _ = model_paths(config.network)
    refuse_pointer(path)
    symbol = embedding_output(load_symbol(path), None, path)
    if _INPUT not in symbol.list_arguments():
        raise InputError(f"{path}: no input of the name {_INPUT}, for the images, leads to its output")
    pixels = pixels_of(symbol)
    if pixels.ambiguous or not pixels.raw:
        symbol = with_scaling(symbol)
    _check_shapes(symbol, config, path)
    if not config.bias_decay:
        _spare_biases(symbol)
    return symbol


def log_network(config: Config, symbol: mx.sym.Symbol) -> None:
    """Log what a network of the user's takes and gives; nothing for one of ours."""
    if is_own(config.network):
        begin, (output,) = pixels_of(symbol).begins_with, symbol.list_outputs()
        log.info(
            "--network %s: raw RGB images of %d x %d pixels to embeddings of %d numbers, its output %s; begins with %s",
            config.network,
            config.image_size,
            config.image_size,
            config.embedding_size,
            output,
            begin,
        )


def parameter_shapes(symbol: mx.sym.Symbol, config: Config) -> Dict[str, Tuple[int, ...]]:
    """Shapes of the parameters and auxiliary states of a backbone by name."""
    shapes, _, states = symbol.infer_shape(data=_image_shape(config))
    names = [*symbol.list_arguments(), *symbol.list_auxiliary_states()]
    return {name: shape for name, shape in zip(names, [*shapes, *states]) if name != _INPUT}


def _image_shape(config: Config) -> Tuple[int, ...]:
    return config.batch_size, 3, config.image_size, config.image_size


def _check_shapes(symbol: mx.sym.Symbol, config: Config, path: str) -> None:
    size = config.image_size
    _, outputs, _ = infer_shapes(symbol, _image_shape(config), path)
    (name,), (shape,) = symbol.list_outputs(), outputs
    if shape != (config.batch_size, config.embedding_size):
        raise InputError(
            f"{path}: its output {name} has the shape {shape} for {config.batch_size} images of {size}x{size} pixels, "
            f"expected ({config.batch_size}, {config.embedding_size}): embeddings (N, D), and D is --set embedding_size"
        )
    attributes = symbol.attr_dict()
    for parameter, each in parameter_shapes(symbol, config).items():
        small = mx.nd.zeros([min(2, length) for length in each])
        try:
            INITIALIZERS[config.initializer](mx.init.InitDesc(parameter, attributes.get(parameter)), small)
        except Exception as error:  # of many types: whatever a file has as the name and arguments of an initializer
            reason = cause(error)
            raise InputError(f"{path}: no initial value follows for the parameter {parameter}: {reason}") from error


def _spare_biases(symbol: mx.sym.Symbol) -> None:
    """Take weight decay from biases and betas of which the symbol has as little to say as Gluon's: a factor of 1."""
    attributes, inner = symbol.attr_dict(), symbol.get_internals()
    for name in symbol.list_arguments():
        own = float(attributes.get(name, {}).get("__wd_mult__", 1))
        if name != _INPUT and not name.endswith(_DECAY) and own == 1:
            inner[name]._set_attr(__wd_mult__="0.0")
