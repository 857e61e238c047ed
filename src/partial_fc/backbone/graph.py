"""A symbol's graph, rewritten operator by operator."""

import json
from typing import Callable, Dict, List, Optional, Sequence

import mxnet as mx

Entry = List[int]  # [number of a node, number of its output, version], as in MXNet's JSON
Node = Dict[str, object]  # keys `op`, `name`, `inputs` and, for most, `attrs`
Rule = Callable[["Graph", Node], Optional[Entry]]


class Graph:
    """The new graph as far as it has been built; nodes are in an order in which they can be computed.

    Attributes:
        nodes: the nodes, see `Node`.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.nodes: List[Node] = []
        self._names = set(names)

    def append(self, node: Node) -> Entry:
        """Add a node as it is; returns its first output."""
        self.nodes.append(node)
        return [len(self.nodes) - 1, 0, 0]

    def add(self, op: str, name: str, inputs: Sequence[Entry], **attrs: object) -> Entry:
        """Add an operator; returns its first output.

        Args:
            op: name of the operator.
            name: of the node; a number is appended where the graph has that name.
            inputs: outputs of nodes of this graph.
            attrs: the operator's parameters.
        """
        unique, number = name, 0
        while unique in self._names:
            number += 1
            unique = f"{name}{number}"
        self._names.add(unique)
        return self.append(
            {"op": op, "name": unique, "attrs": {k: str(v) for k, v in attrs.items()}, "inputs": list(inputs)}
        )


def rewrite(symbol: mx.sym.Symbol, rule: Rule) -> mx.sym.Symbol:
    """The symbol with operators replaced; the names of arguments, auxiliary states and outputs stay.

    Args:
        symbol: any; it is left as it is.
        rule: function of the new graph and of a node whose inputs are in it. It adds what replaces the node and returns
            the output of that, or None to keep the node, of which it may change the inputs and the attributes.

    Returns:
        A new Symbol.
    """
    old = json.loads(symbol.tojson())
    graph = Graph([node["name"] for node in old["nodes"]])
    place: List[Entry] = []  # of the first output of every old node

    def moved(entries: Sequence[Entry]) -> List[Entry]:
        return [[place[node][0], place[node][1] + output, *rest] for node, output, *rest in entries]

    for node in old["nodes"]:
        node = {**node, "inputs": moved(node["inputs"])}
        place.append(rule(graph, node) or graph.append(node))
    arg_nodes = [place[node][0] for node in old["arg_nodes"]]
    new = {"nodes": graph.nodes, "arg_nodes": arg_nodes, "heads": moved(old["heads"]), "attrs": old["attrs"]}
    return mx.sym.load_json(json.dumps(new))
