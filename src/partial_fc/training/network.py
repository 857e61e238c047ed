"""The backbone that a configuration names: one of ours, or a network of the user's in PREFIX-symbol.json."""

import logging
from typing import Dict, Tuple

import mxnet as mx

from ..backbone.initializer import INITIALIZERS
from ..backbone.pixels import pixels_of, with_scaling
from ..checkpoint.model_files import model_paths
from ..checkpoint.symbol_file import load_symbol
from ..config import Config
from ..errors import InputError, cause
from ..eval.model import embedding_output
from ..files import refuse_pointer
from ..symbol import NETWORKS, get_symbol

log = logging.getLogger("partial_fc")

_INPUT = "data"
_DECAY = ("_weight", "_gamma")  # what MXNet's weight decay acts on


def network_symbol(config: Config) -> mx.sym.Symbol:
    """The symbol of the backbone, from `data` (b, 3, H, W), RGB in 0..255, to embeddings (b, D).

    A network of the user's may be exported by Gluon, `net.export(PREFIX)`. Its output is `fc1_output` if there is one,
    or else its only output. If it does not scale the pixels itself, that becomes part of the symbol.

    Raises:
        InputError: naming the file of the user's network: see `load_symbol`; no input `data`; an output that is not
            (b, D) with D the `embedding_size`; parameters without a rule for their initial values.
    """
    if config.network in NETWORKS:
        return get_symbol(config.network, config.embedding_size, config.net_output)
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
    if config.network not in NETWORKS:
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
    try:
        _, outputs, _ = symbol.infer_shape(data=_image_shape(config))
    except mx.base.MXNetError as error:
        raise InputError(f"{path}: cannot take images of {size}x{size} pixels: {cause(error)}") from error
    if outputs is None:
        raise InputError(f"{path}: the shapes of its parameters do not follow from the images: they need more inputs")
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
