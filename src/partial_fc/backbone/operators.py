"""Operators that are slow on a CPU, or fail there, replaced by equal ones that oneDNN computes."""

from typing import Dict, Optional, Sequence, Tuple

import mxnet as mx

from .graph import Entry, Graph, Node, rewrite

_KEEP_SHAPE = "(-2,)"  # of a reshape: all axes as they are


def for_cpu(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same function, with the same gradients up to rounding, of operators that are fast on a CPU.

    PReLU is composed of others: MXNet has no oneDNN operator for it, and it would be half of a training step of r18.
    A PReLU stays if its number of channels depends on the size of the images, or if it has one slope for all channels.

    Fully connected layers read arrays of the plain layout. For inference, MXNet 1.9 replaces a fully connected layer by
    one that keeps oneDNN's memory between calls. From its second call on, that one fails ("Check failed:
    !IsMKLDNNData()") if its input is a map of 1 x 1 pixels in oneDNN's own layout, which convolutions leave on machines
    with AVX-512. A reshape in between that changes no shape brings the array into the plain layout.

    Args:
        symbol: any with the input `data`, (b, 3, H, W).

    Returns:
        A Symbol of the same arguments, auxiliary states and outputs.
    """
    channels = _prelu_channels(symbol)

    def rule(graph: Graph, node: Node) -> Optional[Entry]:
        if node["op"] == "FullyConnected":
            node["inputs"][0] = graph.add("Reshape", f"{node['name']}_plain", node["inputs"][:1], shape=_KEEP_SHAPE)
        return _prelu(graph, node, channels[node["name"]]) if node["name"] in channels else None

    return rewrite(symbol, rule)


def _prelu(graph: Graph, node: Node, channels: int) -> Entry:
    """gamma * x + (1 - gamma) * max(x, 0), where convolutions of one pixel and one channel per group multiply.

    Every operator of it computes in oneDNN, forward and backward, in the layout that the convolutions around it have,
    and the gradient at 0 is that of MXNet's PReLU. Subtraction, for x - max(x, 0), is not in oneDNN; a sum that stands
    for it is fused with the convolution before it when MXNet 1.9 runs inference, and gives wrong values.
    """
    name, (x, gamma) = node["name"], node["inputs"]
    slopes = graph.nodes[gamma[0]]
    if slopes["op"] == "null":  # PReLU implies the shape of its slopes, a reshape does not
        slopes["attrs"] = {**slopes.get("attrs", {}), "__shape__": f"({channels},)"}

    def times(part: str, data: Entry, factors: Entry) -> Entry:
        weight = graph.add("Reshape", f"{name}_{part}_weight", [factors], shape=(channels, 1, 1, 1))
        groups = {"num_filter": channels, "num_group": channels, "kernel": (1, 1), "no_bias": True}
        return graph.add("Convolution", f"{name}_{part}", [data, weight], **groups)

    above = graph.add("Activation", f"{name}_above", [x], act_type="relu")
    rest = graph.add("_rminus_scalar", f"{name}_rest", [gamma], scalar=1.0)
    terms = [times("scaled", x, gamma), times("more", above, rest)]
    return graph.append({"op": "elemwise_add", "name": name, "inputs": terms})


def _prelu_channels(symbol: mx.sym.Symbol) -> Dict[str, int]:
    """Number of channels by name of the PReLUs of maps (b, C, H, W) that have a slope per channel."""
    channels = {}
    for inner in symbol.get_internals():
        inputs = inner.get_children()
        if inner.attr("act_type") == "prelu" and inputs is not None:  # its variables have the attribute, too
            data, gamma = _known_shapes(inputs)
            if len(data) == 4 and data[1] and gamma in ((), (0,), (data[1],)):
                channels[inner.name] = data[1]
    return channels


def _known_shapes(symbol: mx.sym.Symbol) -> Sequence[Tuple[int, ...]]:
    """What is known of the shapes of a symbol's outputs, whatever the size of the images is."""
    images = {"data": (0, 3, 0, 0)} if "data" in symbol.list_arguments() else {}
    try:
        return symbol.infer_shape_partial(**images)[1]
    except mx.base.MXNetError:  # operators that have to know the size
        return [()] * len(symbol)
