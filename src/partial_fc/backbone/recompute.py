"""Activations that the backward pass computes again instead of keeping them: less memory, more time, the same numbers.

The network is cut where a single array is all that later operators need of it. Arrays at some of these places are kept;
those between two of them are computed again from the first when the backward pass comes there, except behind the
last. This is Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost (arXiv 1604.06174), whose program is
memonger.
"""

import json
import math
from typing import Dict, FrozenSet, Iterator, List, Optional, Set, Tuple

import mxnet as mx

from .graph import Entry, Graph, Node, graph_bytes, rewrite

# Operators without state or randomness, which give the same result again. What others compute is kept.
_REPEATABLE = set(
    "Activation BatchNorm Cast Concat Convolution Deconvolution Flatten FullyConnected L2Normalization LeakyReLU "
    "Pooling Reshape _copy _div_scalar _minus_scalar _mul_scalar _plus_scalar _rminus_scalar amp_cast broadcast_add "
    "broadcast_div broadcast_mul broadcast_sub clip elemwise_add elemwise_div elemwise_mul elemwise_sub mean relu sqrt "
    "square transpose".split()
)
# Parts that the arrays of a network are cut into, at most: all these are tried.
_PARTS = [2 ** (power / 2) for power in range(1, 15)]


def is_random(symbol: mx.sym.Symbol) -> bool:
    """Whether any operator of a symbol draws random numbers in training."""
    return any(map(_draws, json.loads(symbol.tojson())["nodes"]))


def with_recompute(symbol: mx.sym.Symbol, shape: Tuple[int, ...]) -> mx.sym.Symbol:
    """The symbol, with operators marked that the backward pass computes again, such that it takes the least memory.

    Args:
        symbol: as it will be bound, with the input `data`; it is left as it is.
        shape: (b, 3, H, W), of a batch. The choice is one for this shape, and right for all.

    Returns:
        A Symbol with the same values and gradients, bit for bit where its operators do not round by the layout of their
        input in memory, as MXNet's pooling does on a CPU; the same one where nothing saves memory.
    """
    chain = _Chain(symbol, shape)
    plans = {frozenset(chain.between(chain.size / parts)): None for parts in _PARTS}  # without repetition, in order
    return min([symbol, *(_marked(symbol, names) for names in plans)], key=lambda each: graph_bytes(each, shape))


class _Chain:
    """The operators of a symbol in order, the sizes of their outputs, and where it can be cut.

    Attributes:
        size: numbers in all outputs together.
    """

    def __init__(self, symbol: mx.sym.Symbol, shape: Tuple[int, ...]) -> None:
        graph, inner = json.loads(symbol.tojson(remove_amp_cast=False)), symbol.get_internals()
        shapes = dict(zip(inner.list_outputs(), inner.infer_shape(data=shape)[1]))
        self._nodes: List[Node] = graph["nodes"]
        self._sizes = [math.prod(shapes.get(node["name"] + "_output", ())) for node in self._nodes]
        self._cuts = set(_cuts(self._nodes, graph["heads"]))
        self.size = sum(size for size, node in zip(self._sizes, self._nodes) if node["op"] != "null")

    def between(self, budget: float) -> Iterator[str]:
        """Names of the operators to compute again if a cut's array is kept after every `budget` numbers."""
        since = 0
        names: List[str] = []
        for place, node in enumerate(self._nodes):
            if node["op"] == "null":
                continue
            since += self._sizes[place]
            if place in self._cuts and since >= budget:
                yield from names
                since, names = 0, []
            elif _repeatable(node):
                names.append(node["name"])


def _cuts(nodes: List[Node], heads: List[Entry]) -> Iterator[int]:
    """Places of operators whose first output is all that later operators need of values computed from images."""
    last: Dict[Tuple[int, int], int] = {}  # place of the last operator that reads an output
    from_images: Set[int] = set()
    for place, node in enumerate(nodes):
        last.update({(entry[0], entry[1]): place for entry in node["inputs"]})
        if node["name"] == "data" or not from_images.isdisjoint(entry[0] for entry in node["inputs"]):
            from_images.add(place)
    last.update({(head[0], head[1]): len(nodes) for head in heads})
    live: Set[Tuple[int, int]] = set()
    own: Dict[int, Set[Tuple[int, int]]] = {}
    for output in last:
        own.setdefault(output[0], set()).add(output)
    for place, node in enumerate(nodes):
        if place in from_images and node["op"] != "null":
            live = {output for output in live | own.get(place, set()) if last[output] > place}
            if live == {(place, 0)}:
                yield place


def _draws(node: Node) -> bool:
    """Whether an operator draws random numbers in training."""
    return node["op"] == "Dropout" or node.get("attrs", {}).get("act_type") == "rrelu"


def _repeatable(node: Node) -> bool:
    """Whether an operator gives the same result again."""
    return node["op"] in _REPEATABLE and not _draws(node)


def _marked(symbol: mx.sym.Symbol, names: FrozenSet[str]) -> mx.sym.Symbol:
    """The symbol, with the mark by which MXNet computes operators again."""

    def rule(graph: Graph, node: Node) -> Optional[Entry]:
        if node["op"] != "null" and node["name"] in names:
            node["attrs"] = {**node.get("attrs", {}), "__force_mirroring__": "True"}
        return None

    return rewrite(symbol, rule)
