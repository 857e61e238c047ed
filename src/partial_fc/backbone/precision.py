"""Convolutions and fully connected layers in low precision."""

from typing import Optional

import mxnet as mx

from .graph import Entry, Graph, Node, rewrite

_PRODUCTS = ("Convolution", "Deconvolution", "FullyConnected")


def cast_products(symbol: mx.sym.Symbol, precision: str) -> mx.sym.Symbol:
    """The symbol with casts around its convolutions and fully connected layers.

    Args:
        symbol: any.
        precision: `bfloat16` or `float16`.

    Returns:
        A Symbol whose variables and outputs are float32.
    """

    def rule(graph: Graph, node: Node) -> Optional[Entry]:
        if node["op"] == "null":
            node["attrs"] = {"__dtype__": "0", **node.get("attrs", {})}
            return None
        if node["op"] not in _PRODUCTS:
            return None
        name = node["name"]
        inputs = [graph.add("amp_cast", f"{name}_low", [each], dtype=precision) for each in node["inputs"]]
        low = graph.append({**node, "name": f"{name}_product", "inputs": inputs})
        return graph.append({"op": "amp_cast", "name": name, "attrs": {"dtype": "float32"}, "inputs": [low]})

    return rewrite(symbol, rule)
