"""A symbol that MXNet can run as often as it likes where oneDNN chooses the layout of arrays."""

import json

import mxnet as mx

_CONSUMER = "FullyConnected"
_KEEP_SHAPE = "(-2,)"  # of a reshape: all axes as they are


def plain_layout(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same symbol, in which fully connected layers read arrays of the plain layout.

    For inference on a CPU, MXNet 1.9 replaces a fully connected layer by one that keeps oneDNN's memory between calls.
    From its second call on, that one fails ("Check failed: !IsMKLDNNData()") if its input is a map of 1 x 1 pixels in
    oneDNN's own layout, which convolutions leave on machines with AVX-512. A reshape in between that changes no shape
    brings the array into the plain layout. Layers that train are never replaced, and need none of this.

    Args:
        symbol: any; it is left as it is.

    Returns:
        A Symbol of the same arguments, auxiliary states, outputs and values.
    """
    graph = json.loads(symbol.tojson())
    nodes, place = [], []  # the new nodes; where in them each of the old ones is

    def moved(sources):
        return [[place[node], *rest] for node, *rest in sources]

    for node in graph["nodes"]:
        node["inputs"] = moved(node["inputs"])
        if node["op"] == _CONSUMER:
            reshape = {"op": "Reshape", "name": node["name"] + "_plain", "attrs": {"shape": _KEEP_SHAPE}}
            nodes.append({**reshape, "inputs": node["inputs"][:1]})
            node["inputs"][0] = [len(nodes) - 1, 0, 0]
        place.append(len(nodes))
        nodes.append(node)
    arg_nodes = [place[node] for node in graph["arg_nodes"]]
    graph = {"nodes": nodes, "arg_nodes": arg_nodes, "heads": moved(graph["heads"]), "attrs": graph["attrs"]}
    return mx.sym.load_json(json.dumps(graph))
