"""Operators that are slow on a CPU, or fail there, replaced by equal ones that oneDNN computes."""

import collections
import json
import re
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import mxnet as mx

from .graph import Entry, Graph, Node, is_true, rewrite

_KEEP_SHAPE = "(-2,)"  # of a reshape: all axes as they are
_FAR = 2.0**40  # what negative numbers of a PReLU are multiplied by, see `_prelu`

_ACTIVATIONS = ("Activation", "LeakyReLU", "clip")
# Operators that may be fused with the one that they read, see `_fused_rightly`.
_FUSED = {
    "Convolution": ("BatchNorm", "elemwise_add", *_ACTIVATIONS),
    "BatchNorm": ("elemwise_add", *_ACTIVATIONS),
    "elemwise_add": _ACTIVATIONS,
    "FullyConnected": _ACTIVATIONS,
}
_OVERLOOKED = {"elemwise_add", "output"}


def for_cpu(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same function, with the same gradients up to rounding, of operators that are fast on a CPU.

    PReLU is composed of others: MXNet has no oneDNN operator for it, and it would be half of a training step of r18.
    In some graphs MXNet's PReLU also multiplies the gradient of its slopes by the slopes. A PReLU is left as it is if
    its input is neither (b, C) nor (b, C, H, W), or if its number of channels depends on the size of the images.

    `add_n` and `relu` are not in oneDNN either, or only for some types: sums of two and Activation are.

    Fully connected layers read arrays of the plain layout. For inference, MXNet 1.9 replaces a fully connected layer by
    one that keeps oneDNN's memory between calls. From its second call on, that one fails ("Check failed:
    !IsMKLDNNData()") if its input is a map of 1 x 1 pixels in oneDNN's own layout, which convolutions leave on machines
    with AVX-512. A reshape in between that changes no shape brings the array into the plain layout.

    Batch normalizations of vectors (b, C) get and give maps (b, C, 1, 1). MXNet 1.9 would read a vector as such a map
    and ask oneDNN for an operator. oneDNN 2.4 returns one that was made for a map of 1 x 1 pixels in another layout,
    if there is one of as many images and channels anywhere in the process; MXNet then crashes, as it writes a vector
    in the plain layout only.

    Args:
        symbol: any with the input `data`, (b, 3, H, W).

    Returns:
        A Symbol of the same arguments, auxiliary states and outputs.
    """
    shapes = _prelu_shapes(symbol)

    def rule(graph: Graph, node: Node) -> Optional[Entry]:
        if node["op"] == "FullyConnected":
            node["inputs"][0] = graph.add("Reshape", f"{node['name']}_plain", node["inputs"][:1], shape=_KEEP_SHAPE)
        elif node["op"] == "BatchNorm":
            return _batch_norm(graph, node)
        elif node["op"] == "relu":
            node["op"], node["attrs"] = "Activation", {**node.get("attrs", {}), "act_type": "relu"}
        elif node["op"] == "add_n":
            return _sum(graph, node)
        elif node["op"] == "LeakyReLU" and node.get("attrs", {}).get("act_type") == "prelu":
            return _prelu(graph, node, *next(shapes))
        return None

    return _fused_rightly(rewrite(symbol, rule))


def _fused_rightly(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The symbol, with reshapes where MXNet would fuse operators wrongly for inference.

    MXNet 1.9 makes one operator of a convolution and of the batch normalization, sum and activation behind it, unless
    something else reads what is in between. It overlooks readers that are already part of another such operator, which
    sums may be, and outputs of the symbol. These then get what is behind the activation: x + conv(relu(x)) is wrong,
    without an error, if x is the output of a convolution.
    """
    readers = _readers(symbol)

    def rule(graph: Graph, node: Node) -> None:
        for place, entry in enumerate(node["inputs"]):
            source = graph.nodes[entry[0]]
            if node["op"] in _FUSED.get(source["op"], ()):
                others = list(readers[source["name"]])
                others.remove(node["op"])
                if others and _OVERLOOKED.issuperset(others):
                    apart = graph.add("Reshape", f"{source['name']}_apart", [entry], shape=_KEEP_SHAPE)
                    node["inputs"][place] = apart

    return rewrite(symbol, rule)


def _readers(symbol: mx.sym.Symbol) -> Dict[str, List[str]]:
    """The operators that read each node, by name; an output of the symbol is read by `output`."""
    graph = json.loads(symbol.tojson())
    readers: Dict[str, List[str]] = collections.defaultdict(list)
    for op, entries in [*((node["op"], node["inputs"]) for node in graph["nodes"]), ("output", graph["heads"])]:
        for source, *_ in entries:
            readers[graph["nodes"][source]["name"]].append(op)
    return readers


def _batch_norm(graph: Graph, node: Node) -> Optional[Entry]:
    """A batch normalization of vectors as one of maps of a single pixel; None if it has to stay."""
    attrs = node.get("attrs", {})
    data, *parameters = node["inputs"]
    of_channels = attrs.get("axis", "1") in ("1", "-1") and not is_true(attrs, "output_mean_var")
    if not of_channels or not _is_flat(graph, data):
        return None
    name, data = node["name"], _as_map(graph, node["name"], data)
    norm = graph.add("BatchNorm", f"{name}_norm", [data, *parameters], **{**attrs, "axis": 1})
    return _as_vectors(graph, name, norm)


def _as_map(graph: Graph, name: str, vectors: Entry) -> Entry:
    """Vectors (b, C) as maps (b, C, 1, 1), for the node of this name."""
    return graph.add("Reshape", f"{name}_map", [vectors], shape=(0, 0, 1, 1))


def _as_vectors(graph: Graph, name: str, maps: Entry) -> Entry:
    """The reverse of `_as_map`; it takes the name itself."""
    return graph.append({"op": "Reshape", "name": name, "attrs": {"shape": "(0, 0)"}, "inputs": [maps]})


def _is_flat(graph: Graph, entry: Entry) -> bool:
    """Whether an array is known to have two axes: what makes a vector of each image, and activations of it.

    MXNet infers no shapes behind a fully connected layer as long as the size of the images is open.
    """
    node = graph.nodes[entry[0]]
    attrs = node.get("attrs", {})
    if node["op"] in ("Dropout", "_copy", "Cast", "L2Normalization", "elemwise_add", *_ACTIVATIONS):
        return _is_flat(graph, node["inputs"][0])
    if node["op"] == "Reshape":
        return re.fullmatch(r"[(\[] *(-1|\d+), *(-1|\d+),? *[)\]]", attrs.get("shape", "")) is not None
    return node["op"] == "Flatten" or node["op"] == "FullyConnected" and is_true(attrs, "flatten", default=True)


def _sum(graph: Graph, node: Node) -> Entry:
    """A sum of any number of arrays as sums of two."""
    total, *others = node["inputs"]
    for number, other in enumerate(others[:-1]):
        total = graph.add("elemwise_add", f"{node['name']}_{number}", [total, other])
    if not others:
        return graph.append({"op": "_copy", "name": node["name"], "inputs": [total]})
    return graph.append({"op": "elemwise_add", "name": node["name"], "inputs": [total, others[-1]]})


def _prelu(graph: Graph, node: Node, data: Tuple[int, ...], gamma: Tuple[int, ...]) -> Optional[Entry]:
    """max(x, 0) + gamma / F * f(x), where f(x) is x above 0 and F x elsewhere, and F is 2^40.

    A convolution of one pixel and one channel per group multiplies by the slopes. Every operator of it computes in
    oneDNN, forward and backward, in the layout that the convolutions around it have, and the gradient at 0 is that of
    MXNet's PReLU. What f leaves of x > 0 is 2^-40 of gamma x: less than is rounded away beside x, in the output as in
    the gradient of x. In the gradient of the slopes it is a part of 2^-40, too. To take x - max(x, 0) instead needs one
    more operator, and gamma x + (1 - gamma) max(x, 0) makes the gradient of the slopes a difference of two sums, of
    which in bfloat16 nothing is left where most of x is above 0.

    Args:
        graph, node: as `rewrite` gives them.
        data, gamma: what is known of the shapes of x and of the slopes.

    Returns:
        The output; None if the PReLU has to stay.
    """
    channels = data[1] if len(data) in (2, 4) else 0
    if not channels or gamma not in ((), (0,), (1,), (channels,)):
        return None
    name, (x, slopes) = node["name"], node["inputs"]
    if len(data) == 2:
        x = _as_map(graph, name, x)
    weight = _weight(graph, name, slopes, channels, is_single=gamma == (1,))
    above = graph.add("Activation", f"{name}_above", [x], act_type="relu")
    far = graph.add("LeakyReLU", f"{name}_far", [x], act_type="leaky", slope=_FAR)
    groups = {"num_filter": channels, "num_group": channels, "kernel": (1, 1), "no_bias": True}
    # The sum has the layout of its first term: that of a convolution does not depend on how memory is shared.
    terms = [graph.add("Convolution", f"{name}_below", [far, weight], **groups), above]
    if len(data) == 4:
        return graph.append({"op": "elemwise_add", "name": name, "inputs": terms})
    return _as_vectors(graph, name, graph.add("elemwise_add", f"{name}_sum", terms))


def _weight(graph: Graph, name: str, slopes: Entry, channels: int, is_single: bool) -> Entry:
    """The weight (channels, 1, 1, 1) of the convolution in `_prelu`, from slopes of the shape (1,) or (channels,)."""
    variable = graph.nodes[slopes[0]]
    if variable["op"] == "null":  # PReLU implies the shape of its slopes, a reshape does not
        shape = f"({1 if is_single else channels},)"
        variable["attrs"] = {**variable.get("attrs", {}), "__shape__": shape}
    slopes = graph.add("_mul_scalar", f"{name}_small", [slopes], scalar=1 / _FAR)
    if is_single:
        slopes = graph.add("broadcast_to", f"{name}_same", [slopes], shape=(channels,))
    return graph.add("Reshape", f"{name}_below_weight", [slopes], shape=(channels, 1, 1, 1))


def _prelu_shapes(symbol: mx.sym.Symbol) -> Iterator[Sequence[Tuple[int, ...]]]:
    """What is known of the shapes of data and slopes of each PReLU, in the order of the graph."""
    for inner in symbol.get_internals():
        inputs = inner.get_children()
        if inputs is not None and inner.attr("act_type") == "prelu":  # its variables may have the attribute, too
            yield _known_shapes(inputs)


def _known_shapes(symbol: mx.sym.Symbol) -> Sequence[Tuple[int, ...]]:
    """What is known of the shapes of a symbol's outputs, whatever the size of the images is."""
    images = {"data": (0, 3, 0, 0)} if "data" in symbol.list_arguments() else {}
    try:
        return symbol.infer_shape_partial(**images)[1]
    except mx.base.MXNetError:  # operators that have to know the size
        return [()] * len(symbol)
