"""Operators that are slow on a CPU, replaced by equal ones that oneDNN computes."""

from typing import Dict, Optional, Tuple

import mxnet as mx

from .graph import Entry, Graph, Node, rewrite


def replace_slow(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same function, with the same gradients up to rounding, of operators that are fast on a CPU."""
    shapes = _prelu_shapes(symbol)

    def rule(graph: Graph, node: Node) -> Optional[Entry]:
        return _prelu(graph, node, shapes[node["name"]]) if node["name"] in shapes else None

    return rewrite(symbol, rule)


def _prelu(graph: Graph, node: Node, shape: Tuple[int, ...]) -> Entry:
    """max(x, 0) + gamma * min(x, 0), the second product as a convolution of one pixel and one channel per group."""
    name, (x, gamma) = node["name"], node["inputs"]
    channels, window = shape[1], (1,) * (len(shape) - 2)
    slopes = graph.nodes[gamma[0]]
    if slopes["op"] == "null":  # PReLU implies the shape of its slopes, a reshape does not
        slopes["attrs"] = {**slopes.get("attrs", {}), "__shape__": f"({channels},)"}
    positive = graph.add("Activation", f"{name}_positive", [x], act_type="relu")
    negative = graph.add("elemwise_sub", f"{name}_negative", [x, positive])
    weight = graph.add("Reshape", f"{name}_weight", [gamma], shape=(channels, 1, *window))
    scaled = graph.add(
        "Convolution",
        f"{name}_scaled",
        [negative, weight],
        kernel=window,
        num_filter=channels,
        num_group=channels,
        no_bias=True,
    )
    return graph.append({**node, "op": "elemwise_add", "attrs": {}, "inputs": [positive, scaled]})


def _prelu_shapes(symbol: mx.sym.Symbol) -> Dict[str, Tuple[int, ...]]:
    """Shapes of the inputs of the PReLUs by name, 0 where it is unknown, of those of known channels and a slope each."""
    shapes = {}
    for inner in symbol.get_internals():
        if inner.attr("act_type") == "prelu" and inner.get_children() is not None:
            try:
                data, gamma = inner.get_children().infer_shape_partial(data=(0, 3, 0, 0))[1]
            except mx.base.MXNetError:
                continue
            if len(data) > 2 and gamma in ((), (0,), (data[1],)) and data[1] > 1:
                shapes[inner.name] = data
    return shapes
