"""Convolutions in low precision, and what lies between them."""

import collections
import json
from typing import Dict, Mapping, Optional, Set, Tuple

import mxnet as mx
from mxnet.contrib.amp.amp import bfloat16

from .graph import Entry, Graph, Node, is_true, rewrite

_TYPES = {"float32": "0", "float16": "2", "bfloat16": "12"}  # as MXNet numbers them
_OTHER_FLOATS = {"float16", "bfloat16", "float64"}
_LOW = {_TYPES["float16"]: "float16", _TYPES["bfloat16"]: bfloat16}

# Operators that are always computed in low precision. On a CPU fully connected layers are not: the weight of r50's,
# 25088 x 512, takes longer to cast than the product of a batch of 8 takes in float32, and is as slow at one of 128.
_PRODUCTS = {"bfloat16": {"Convolution"}, "float16": {"Convolution", "Deconvolution", "FullyConnected"}}
# Operators that are computed in low precision where an input is. oneDNN has no others for bfloat16 that are not slower.
_FOLLOWERS = {
    "bfloat16": {"Activation", "LeakyReLU", "elemwise_add"},
    "float16": {"Activation", "LeakyReLU", "Pooling", "Concat", "elemwise_add"},
}
_BFLOAT16_ACTIVATIONS = ("relu", "leaky")


def with_precision(symbol: mx.sym.Symbol, precision: str) -> mx.sym.Symbol:
    """The symbol with its convolutions in low precision.

    What lies between two convolutions stays in low precision where the device is faster so: batch normalization, whose
    parameters and sums are float32 all the same, activations, sums. Everything else is float32. The symbol's own types
    of floats are taken out, those of its casts, other operators and variables: a network that was made for float16 is
    computed in the precision asked for here.

    Args:
        symbol: any.
        precision: `float32`, `bfloat16` or `float16`.

    Returns:
        A Symbol of the same arguments and auxiliary states, all float32, and of the same outputs, float32.
    """
    casts = _Casts(precision)
    return rewrite(symbol, casts.place, casts.finish)


def with_cast_parameters(
    symbol: mx.sym.Symbol, parameters: Mapping[str, mx.nd.NDArray]
) -> Tuple[mx.sym.Symbol, Dict[str, mx.nd.NDArray]]:
    """Symbol and parameters for inference: what is read in low precision only is kept in it, not cast in every batch.

    MXNet then also keeps these parameters in the layout that convolutions prefer.

    Args:
        symbol: of `with_precision`.
        parameters: float32, by name.

    Returns:
        A Symbol of the same arguments in the same order, which computes the same; its parameters.
    """
    nodes = json.loads(symbol.tojson(remove_amp_cast=False))["nodes"]
    readers = collections.Counter(entry[0] for node in nodes for entry in node["inputs"])
    once = {node["name"] for number, node in enumerate(nodes) if node["op"] == "null" and readers[number] == 1}
    once.discard("data")

    def keep_low(graph: Graph, node: Node) -> Optional[Entry]:
        if node["op"] != "amp_cast":
            return None
        source = graph.nodes[node["inputs"][0][0]]
        if source["name"] not in once:
            return None
        source["attrs"] = {**source.get("attrs", {}), "__dtype__": _TYPES[node["attrs"]["dtype"]]}
        return node["inputs"][0]

    symbol = rewrite(symbol, keep_low)
    types = {name: attributes.get("__dtype__") for name, attributes in symbol.attr_dict().items()}
    # Not `astype`, which cuts numbers off where `amp_cast` rounds them.
    return symbol, {
        name: mx.nd.amp_cast(array, dtype=_LOW[types[name]]) if types.get(name) in _LOW else array
        for name, array in parameters.items()
    }


class _Casts:
    """Where the arrays of low precision are.

    Args:
        precision: `float32`, `bfloat16` or `float16`.
    """

    def __init__(self, precision: str) -> None:
        self._precision = precision
        self._products, self._followers = _PRODUCTS.get(precision, set()), _FOLLOWERS.get(precision, set())
        self._low: Set[Tuple[int, ...]] = set()
        self._made: Dict[Tuple[int, ...], Entry] = {}  # casts by the entries that they cast

    def place(self, graph: Graph, node: Node) -> Optional[Entry]:
        """The rule of `rewrite`."""
        if node["op"] == "null":  # of an array that is cast, MXNet cannot infer the type
            node["attrs"] = {**node.get("attrs", {}), "__dtype__": _TYPES["float32"]}
            return None
        if node.get("attrs", {}).get("dtype") in _OTHER_FLOATS:
            if node["op"] in ("Cast", "cast", "amp_cast"):
                node["op"], node["attrs"] = "_copy", {}
            else:
                node["attrs"] = {**node["attrs"], "dtype": "float32"}
        low = self._runs_low(node)
        # Of a batch normalization in low precision only the data is.
        num_low = (1 if node["op"] == "BatchNorm" else len(node["inputs"])) if low else 0
        node["inputs"] = [self._cast(graph, each, place < num_low) for place, each in enumerate(node["inputs"])]
        output = graph.append(node)
        if low:
            self._low.add(tuple(output))
        return output

    def finish(self, graph: Graph, output: Entry) -> Entry:
        """Casts an output of the symbol to float32; it keeps its name."""
        if tuple(output) not in self._low:
            return output
        node = graph.nodes[output[0]]
        name, node["name"] = node["name"], graph.unique(f"{node['name']}_{self._precision}")
        return graph.append({"op": "amp_cast", "name": name, "attrs": {"dtype": "float32"}, "inputs": [output]})

    def _runs_low(self, node: Node) -> bool:
        attrs, low = node.get("attrs", {}), [tuple(each) in self._low for each in node["inputs"]]
        if node["op"] in self._products:
            return self._precision == "float16" or len(attrs["kernel"].split(",")) == 2
        if node["op"] == "BatchNorm":
            return low[0] and attrs.get("axis", "1") == "1" and not is_true(attrs, "output_mean_var")
        if self._precision == "bfloat16" and attrs.get("act_type", "leaky") not in _BFLOAT16_ACTIVATIONS:
            return False
        return node["op"] in self._followers and any(low)

    def _cast(self, graph: Graph, entry: Entry, low: bool) -> Entry:
        """The entry in low precision or in float32; one cast serves all that read it."""
        key = tuple(entry)
        if (key in self._low) == low:
            return entry
        if key not in self._made:
            dtype = self._precision if low else "float32"
            self._made[key] = graph.add("amp_cast", f"{graph.nodes[entry[0]]['name']}_{dtype}", [entry], dtype=dtype)
        return self._made[key]
