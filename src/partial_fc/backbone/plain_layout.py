"""A symbol that MXNet can run as often as it likes where oneDNN chooses the layout of arrays."""

from typing import Optional

import mxnet as mx

from .graph import Entry, Graph, Node, rewrite

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
    return rewrite(symbol, _reshape_input)


def _reshape_input(graph: Graph, node: Node) -> Optional[Entry]:
    if node["op"] == _CONSUMER:
        node["inputs"][0] = graph.add("Reshape", f"{node['name']}_plain", node["inputs"][:1], shape=_KEEP_SHAPE)
    return None
