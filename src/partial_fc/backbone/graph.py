"""A symbol's graph, rewritten operator by operator."""

import json
import math
import re
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple, TypedDict

import mxnet as mx

LARGEST_ARRAY = 2**31 - 1  # numbers, in MXNet's stock wheel

Entry = List[int]  # an output of a node, as in MXNet's JSON: [number of the node, number of its output, version]


class Node(TypedDict, total=False):
    """A variable or an operator, as in MXNet's JSON: a variable has the `op` null and no inputs."""

    op: str
    name: str
    attrs: Dict[str, str]
    inputs: List[Entry]


class Graph:
    """The new graph as far as it is built.

    Attributes:
        nodes: inputs of each come before it.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.nodes: List[Node] = []
        self._names = set(names)  # those of the old graph: its nodes may still come

    def append(self, node: Node) -> Entry:
        """Add a node as it is; returns its first output."""
        self.nodes.append(node)
        return [len(self.nodes) - 1, 0, 0]

    def add(self, op: str, name: str, inputs: Sequence[Entry], **attrs: object) -> Entry:
        """Add an operator; returns its first output.

        Args:
            op: MXNet's name of the operator.
            name: of the node, made unique.
            inputs: outputs of nodes of this graph.
            attrs: the operator's parameters.
        """
        texts = {key: str(value) for key, value in attrs.items()}
        return self.append({"op": op, "name": self.unique(name), "attrs": texts, "inputs": list(inputs)})

    def unique(self, name: str) -> str:
        """The name, with a number at its end if another node has it."""
        unique, number = name, 0
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        return unique


def is_true(attrs: Mapping[str, str], key: str, default: bool = False) -> bool:
    """Whether an operator's parameter is true, as MXNet's JSON writes it; `default` where it is not written."""
    return attrs.get(key, str(default)) in ("True", "1")


Rule = Callable[[Graph, Node], Optional[Entry]]
Finish = Callable[[Graph, Entry], Entry]


def rewrite(symbol: mx.sym.Symbol, rule: Rule, finish: Finish = lambda graph, output: output) -> mx.sym.Symbol:
    """The symbol with operators replaced; its arguments and auxiliary states stay.

    Args:
        symbol: any; it is left as it is.
        rule: function of the new graph and of a node whose inputs are in that graph. It adds what replaces the node and
            returns the output of that; or it returns None to keep the node, which it may have changed.
        finish: function of the new graph and of an output of the symbol. It returns what the output is to be.

    Returns:
        A new Symbol.
    """
    old = json.loads(symbol.tojson(remove_amp_cast=False))
    graph = Graph([node["name"] for node in old["nodes"]])
    place: List[Entry] = []  # of the first output of each old node

    def moved(entries: Sequence[Entry]) -> List[Entry]:
        return [[place[node][0], place[node][1] + output, *version] for node, output, *version in entries]

    for node in old["nodes"]:
        node = {**node, "inputs": moved(node["inputs"])}
        place.append(rule(graph, node) or graph.append(node))
    heads = [finish(graph, head) for head in moved(old["heads"])]
    arg_nodes = [place[node][0] for node in old["arg_nodes"]]
    new = {"nodes": graph.nodes, "arg_nodes": arg_nodes, "heads": heads, "attrs": old["attrs"]}
    return mx.sym.load_json(json.dumps(new))


def graph_bytes(symbol: mx.sym.Symbol, shape: Tuple[int, ...]) -> int:
    """Bytes of the arrays within a training graph, as MXNet places them: many share one place one after the other.

    Args:
        symbol: as it will be bound, with the input `data`.
        shape: (b, 3, H, W), of a batch.

    Raises:
        RuntimeError: they do not fit into memory.
    """
    shapes, _, states = symbol.infer_shape(data=shape)
    largest = max(map(math.prod, shapes))
    if largest > LARGEST_ARRAY:
        raise RuntimeError(f"a parameter of {largest} numbers is more than an MXNet array can hold, {LARGEST_ARRAY}")
    # On a CPU memory is reserved, not used, until a graph runs; `simple_bind` would fill arguments with zeros.
    arrays = dict(zip(symbol.list_arguments(), map(mx.nd.empty, shapes)))
    gradients = {name: mx.nd.empty(array.shape) for name, array in arrays.items() if name != "data"}
    executor = symbol.bind(mx.cpu(), arrays, gradients, aux_states=list(map(mx.nd.empty, states)))
    (megabytes,) = re.findall(r"Total (\d+) MB allocated", executor.debug_str())
    return int(megabytes) * 2**20
