"""Trained models from MXNet's files, ours or others': the symbol up to the embeddings, its parameters, a checksum."""

import hashlib
import json
import logging
from typing import Dict, NamedTuple, Optional, Sequence, Tuple

import mxnet as mx

from ..backbone.pixels import AS_THEY_ARE, SCALING, pixels_of
from ..checkpoint.model_files import check_channels, check_model_exists, listed, model_paths, read_parameters, why_not
from ..checkpoint.symbol_file import load_symbol
from ..errors import InputError
from ..files import file_digest, refuse_pointer

log = logging.getLogger("partial_fc")

_INPUT, _EMBEDDINGS = "data", "fc1_output"


class Model(NamedTuple):
    """A network from images to embeddings.

    Attributes:
        name: PREFIX,EPOCH as the user gave it.
        symbol: from `data` (b, 3, H, W) to one output, its first axis b.
        parameters: float32 NDArrays by name, arguments and auxiliary states together.
        scales_input: whether the symbol expects pixels 0..255; otherwise it expects (x - 127.5) / 128.
        checksum: hexadecimal, of both files and of the name of the output.
        begins_with: names of the operators that take the pixels, which `scales_input` is concluded from.
        ambiguous: whether it begins with a batch norm, from which nothing can be concluded.
    """

    name: str
    symbol: mx.sym.Symbol
    parameters: Dict[str, mx.nd.NDArray]
    scales_input: bool
    checksum: str
    begins_with: str = ""
    ambiguous: bool = False

    @property
    def scaling(self) -> Tuple[float, float]:
        """Mean and scale of what the symbol expects, (x - mean) * scale of pixels 0..255, see `scales_input`."""
        return AS_THEY_ARE if self.scales_input else SCALING


def load_model(name: str, layer: Optional[str] = None, operators: Sequence[str] = ()) -> Model:
    """Read `PREFIX-symbol.json` and `PREFIX-EPOCH.params`.

    The embeddings are `fc1_output` where the symbol has that, as InsightFace's models and ours; else its own output.
    A symbol that begins with a convolution gets scaled pixels; one that begins otherwise (subtraction, InsightFace's
    batch norm `bn_data`) handles raw ones itself; one that begins with another batch norm is ambiguous.

    Args:
        name: `PREFIX`, epoch 0, or `PREFIX,EPOCH`.
        layer: name of an inner output to take instead, with or without `_output`.
        operators: names of further operators to allow in the symbol, see `load_symbol`.

    Raises:
        InputError: naming the file, where one is missing or damaged; no input `data`; symbol and parameters that do
            not belong together; no such layer.
    """
    symbol_path, params_path = model_paths(name)
    check_model_exists(name, "`model`")
    refuse_pointer(symbol_path)
    symbol = load_symbol(symbol_path, operators)
    parameters = {key: array.astype("float32", copy=False) for key, array in read_parameters(params_path).items()}
    whole, symbol = symbol, embedding_output(symbol, layer, symbol_path)
    _check_inputs(symbol, parameters, symbol_path, params_path)
    _check_surplus(whole, parameters, symbol_path, params_path)
    checksum = _checksum((symbol_path, params_path), symbol.list_outputs()[0])
    pixels = pixels_of(symbol)
    return Model(name, symbol, parameters, pixels.raw, checksum, pixels.begins_with, pixels.ambiguous)


def embedding_output(symbol: mx.sym.Symbol, layer: Optional[str], path: str) -> mx.sym.Symbol:
    """The symbol of one output, see `load_model`; raises InputError naming its file `path`."""
    inner = symbol.get_internals()
    names = inner.list_outputs()
    if layer is None and _EMBEDDINGS in names:
        return inner[_EMBEDDINGS]
    if layer is None:
        if len(symbol.list_outputs()) > 1:
            raise InputError(
                f"{path}: has the outputs {', '.join(symbol.list_outputs())}: choose the embeddings with `layer`"
            )
        return symbol
    variables = {*symbol.list_arguments(), *symbol.list_auxiliary_states()}
    outputs = [name for name in names if name not in variables]
    for name in (layer, layer + "_output"):
        if name in outputs:
            return inner[name]
    raise InputError(f"`layer` {layer}: {path} has no such output; its last ones are {', '.join(outputs[-8:])}")


def _check_surplus(symbol, parameters, symbol_path, params_path):
    """Raise InputError for convolutions that the symbol lacks: the parameters are of another, larger network.

    Other parameters that it lacks may be those of a classification layer that was cut off.
    """
    known = {*symbol.list_arguments(), *symbol.list_auxiliary_states()}
    surplus = [name for name in parameters if name not in known]
    convolutions = [name for name in surplus if len(parameters[name].shape) == 4]
    if convolutions:
        raise InputError(
            f"{params_path}: {len(convolutions)} convolutions of it are not in {symbol_path}, such as "
            f"{convolutions[0]}: the two files are not of one network"
        )
    if surplus:
        log.info("%s: not in %s, not used: %s", params_path, symbol_path, listed(surplus))


def _check_inputs(symbol, parameters, symbol_path, params_path):
    if _INPUT not in symbol.list_arguments():
        raise InputError(f"{symbol_path}: no input of the name {_INPUT}, for the images, leads to its output")
    needed = [name for name in symbol.list_arguments() if name != _INPUT] + symbol.list_auxiliary_states()
    missing = [name for name in needed if name not in parameters]
    if missing:
        raise InputError(
            f"{params_path}: lacks {len(missing)} of {len(needed)} parameters of {symbol_path}, such as {missing[0]}: "
            f"{why_not(needed, parameters)}"
        )
    for name, shape in _first_weights(symbol).items():
        check_channels(params_path, name, parameters[name].shape, shape)


def _first_weights(symbol):
    """Shapes of the parameters up to the first convolution, as RGB images of any size have them; 0 for the unknown."""
    nodes = json.loads(symbol.tojson())["nodes"]
    first = next((node["name"] for node in nodes if node["op"] == "Convolution"), None)
    if first is None:
        return {}
    inner = symbol.get_internals()[f"{first}_output"]
    try:
        shapes, _, _ = inner.infer_shape_partial(**{_INPUT: (0, 3, 0, 0)})
    except mx.base.MXNetError:  # operators that need the size; what does not fit is found out when it runs
        return {}
    return {name: shape for name, shape in zip(inner.list_arguments(), shapes) if name != _INPUT}


def _checksum(paths, output):
    digest = hashlib.sha256(output.encode())
    for path in paths:
        file_digest(path, digest)
    return digest.hexdigest()
