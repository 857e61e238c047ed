"""The pixels that a symbol expects, concluded from the operators that take them."""

import collections
import json
from typing import NamedTuple, Set

import mxnet as mx

AS_THEY_ARE, SCALING = (0.0, 1.0), (127.5, 0.0078125)  # mean and scale; the latter are those of InsightFace's models

_INPUT = "data"
# Operators which say nothing about the range of the pixels that a network expects.
_NEUTRAL = ("_copy", "identity", "Cast", "cast", "transpose", "Pad", "pad", "BlockGrad", "Dropout")
_WEIGHTED = ("Convolution", "FullyConnected")
# InsightFace's models that begin with a batch norm of this name take raw pixels. Those of others may want any.
_OF_RAW_PIXELS = "bn_data"


class Pixels(NamedTuple):
    """What a symbol expects.

    Attributes:
        raw: whether it seems to handle pixels 0..255 itself; otherwise it begins with a convolution or the like.
        ambiguous: whether it begins with a batch norm, which may stand for either.
        begins_with: names of the operators that take the pixels.
    """

    raw: bool
    ambiguous: bool
    begins_with: str


def pixels_of(symbol: mx.sym.Symbol) -> Pixels:
    """The pixels that a symbol with the input `data` expects."""
    nodes = json.loads(symbol.tojson())["nodes"]
    first = _first_nodes(nodes)
    operators = {nodes[node]["op"] for node in first}
    names = {nodes[node]["name"] for node in first}
    ambiguous = any("BatchNorm" in operator for operator in operators) and names != {_OF_RAW_PIXELS}
    return Pixels(not operators & set(_WEIGHTED), ambiguous, " and ".join(sorted(operators)))


def _first_nodes(nodes: list) -> Set[int]:
    """Numbers of the first operators that the images reach, except for those that keep the range of pixels."""
    users = collections.defaultdict(set)
    for each, node in enumerate(nodes):
        for source, *_ in node["inputs"]:
            users[source].add(each)
    number = next(number for number, node in enumerate(nodes) if node["name"] == _INPUT and node["op"] == "null")
    while True:
        first = users[number]
        if len(first) != 1 or not {nodes[user]["op"] for user in first} <= set(_NEUTRAL):
            return first
        (number,) = first


def with_scaling(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same network for pixels 0..255: they are scaled to (x - 127.5) / 128 inside the new symbol."""
    mean, scale = SCALING
    with mx.name.NameManager():  # the names by which InsightFace's tools recognize such a symbol
        return symbol(data=(mx.sym.identity(mx.sym.Variable(_INPUT), name="id") - mean) * scale)
