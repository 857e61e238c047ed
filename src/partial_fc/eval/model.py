"""Trained models from MXNet's files, ours or others': the symbol up to the embeddings, its parameters, a checksum."""

import glob
import hashlib
import json
import os
from typing import Dict, NamedTuple

import mxnet as mx

from ..errors import InputError, cause
from ..model_files import read_parameters

_INPUT, _EMBEDDINGS = "data", "fc1_output"
_READ_AT_ONCE = 2**24
# Operators which say nothing about the range of the pixels that a model expects.
_NEUTRAL = ("_copy", "identity", "Cast", "cast", "transpose", "Pad", "pad", "BlockGrad", "Dropout")
_WEIGHTED = ("Convolution", "FullyConnected")


class Model(NamedTuple):
    """A network from images to embeddings.

    Attributes:
        name: PREFIX,EPOCH as the user gave it.
        symbol: from `data` (b, 3, H, W) to one output, its first axis b.
        parameters: float32 NDArrays by name, arguments and auxiliary states together.
        scales_input: whether the symbol itself expects pixels 0..255; else it is to be given (x - 127.5) / 128.
        checksum: hexadecimal, of both files and of the name of the output.
    """

    name: str
    symbol: mx.sym.Symbol
    parameters: Dict[str, mx.nd.NDArray]
    scales_input: bool
    checksum: str


def load_model(name, layer=None):
    """Read `PREFIX-symbol.json` and `PREFIX-EPOCH.params`.

    The embeddings are `fc1_output` where the symbol has that, as InsightFace's models and ours; else its own output.
    A symbol that begins with a convolution gets scaled pixels; one that begins otherwise (subtraction, batch
    normalization) handles raw ones itself.

    Args:
        name: `PREFIX`, epoch 0, or `PREFIX,EPOCH`.
        layer: name of an inner output to take instead, with or without `_output`.

    Raises:
        InputError: naming the file, where one is missing or damaged; no input `data`; parameters that the symbol needs
            and the file lacks; no such layer.
    """
    symbol_path, params_path = model_paths(name)
    try:
        symbol = mx.sym.load(symbol_path)
    except (mx.base.MXNetError, ValueError) as error:
        raise InputError(f"{symbol_path}: not a symbol of MXNet: {cause(error)}") from error
    symbol = _output(symbol, layer, symbol_path)
    parameters = {key: array.astype("float32", copy=False) for key, array in read_parameters(params_path).items()}
    _check_inputs(symbol, parameters, symbol_path, params_path)
    checksum = _checksum((symbol_path, params_path), symbol.list_outputs()[0])
    return Model(name, symbol, parameters, _scales_input(symbol), checksum)


def model_paths(name):
    """Paths of the symbol and of the parameters that `PREFIX[,EPOCH]` stands for.

    Raises:
        InputError: a file is missing.
    """
    prefix, comma, epoch = name.rpartition(",")
    if not (comma and epoch.isdigit()):
        prefix, epoch = name, "0"
    paths = f"{prefix}-symbol.json", f"{prefix}-{int(epoch):04d}.params"
    for path in paths:
        if not os.path.isfile(path):
            there = sorted(glob.glob(glob.escape(prefix) + "-*.params"))
            hint = f"; there is {', '.join(there[:3])}" if there else ""
            raise InputError(
                f"--model {name}: no file {path}{hint}: PREFIX[,EPOCH] stands for PREFIX-symbol.json and "
                "PREFIX-EPOCH.params, by default epoch 0"
            )
    return paths


def _output(symbol, layer, path):
    """The symbol of one output."""
    inner = symbol.get_internals()
    names = inner.list_outputs()
    if layer is None and _EMBEDDINGS in names:
        return inner[_EMBEDDINGS]
    if layer is None:
        if len(symbol.list_outputs()) > 1:
            raise InputError(
                f"{path}: has the outputs {', '.join(symbol.list_outputs())}: choose the embeddings with --layer"
            )
        return symbol
    variables = {*symbol.list_arguments(), *symbol.list_auxiliary_states()}
    outputs = [name for name in names if name not in variables]
    for name in (layer, layer + "_output"):
        if name in outputs:
            return inner[name]
    raise InputError(f"--layer {layer}: {path} has no such output; its last ones are {', '.join(outputs[-8:])}")


def _check_inputs(symbol, parameters, symbol_path, params_path):
    if _INPUT not in symbol.list_arguments():
        raise InputError(f"{symbol_path}: no input of the name {_INPUT}, for the images, leads to its output")
    needed = [name for name in symbol.list_arguments() if name != _INPUT] + symbol.list_auxiliary_states()
    missing = [name for name in needed if name not in parameters]
    if missing:
        raise InputError(
            f"{params_path}: lacks {len(missing)} of {len(needed)} parameters of {symbol_path}, such as {missing[0]}"
        )


def _scales_input(symbol):
    nodes = json.loads(symbol.tojson())["nodes"]
    number = next(number for number, node in enumerate(nodes) if node["name"] == _INPUT and node["op"] == "null")
    while True:
        users = [each for each, node in enumerate(nodes) if number in [source[0] for source in node["inputs"]]]
        operators = {nodes[user]["op"] for user in users}
        if len(users) != 1 or not operators <= set(_NEUTRAL):
            return not operators & set(_WEIGHTED)
        number = users[0]


def _checksum(paths, output):
    digest = hashlib.sha256(output.encode())
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(_READ_AT_ONCE):
                digest.update(block)
    return digest.hexdigest()
