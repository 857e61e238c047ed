"""What a backbone computes: the work of each operator, found by walking the symbol."""

import json
import math
from typing import Dict, Iterator, List, NamedTuple

import mxnet as mx
import numpy as np

# An operator reads its inputs and writes its output; backward, it reads both and the gradient of its output, and writes
# those of its inputs. Batch normalization reads its input once more for the statistics, and both once more backward.
_EXTRA_READS = {"BatchNorm": 3}
_PRODUCTS = ("Convolution", "FullyConnected")
_FREE = ("_copy", "Flatten", "Reshape", "reshape", "BlockGrad", "Dropout")  # the same memory, or nearly nothing


class Operator(NamedTuple):
    """One operator in the forward and the backward pass of one image.

    Attributes:
        op: MXNet's name.
        flops: twice the multiplications, three times the forward pass: two gradients are as large as the product
            (Goodfellow et al. 2016, Deep Learning, section 6.5).
        moved: bytes of activations that it reads and writes.
        weight: bytes of parameters that it reads or writes, once per update however many images.
        width: pixels in a row of its output.
        channels: of its output.
        groups: of a convolution; 1 for others.
        reads: channels of the input that a channel of the output of a product is made of; 0 for others.
        is_low: whether it computes in two bytes per number.
    """

    op: str
    flops: float
    moved: float
    weight: float
    width: int
    channels: int
    groups: int
    reads: int
    is_low: bool


class Network(NamedTuple):
    """A backbone as it is executed.

    Attributes:
        parameters: numbers in them.
        operators: in the order of the graph.
    """

    parameters: int
    operators: List[Operator]


def network(symbol: mx.sym.Symbol, image_size: int) -> Network:
    """The work of a backbone.

    Args:
        symbol: as it will be bound, see `fast_symbol`.
        image_size: pixels in a row of its images.
    """
    inner = symbol.get_internals()
    shapes = dict(zip(inner.list_outputs(), inner.infer_shape(data=(1, 3, image_size, image_size))[1]))
    dtypes = dict(zip(inner.list_outputs(), inner.infer_type(data=np.float32)[1]))
    parameters = sum(math.prod(shapes[name]) for name in symbol.list_arguments() if name != "data")
    return Network(int(parameters), list(_operators(symbol, shapes, dtypes)))


def _operators(symbol: mx.sym.Symbol, shapes: Dict[str, tuple], dtypes: Dict[str, type]) -> Iterator[Operator]:
    nodes = json.loads(symbol.tojson(remove_amp_cast=False))["nodes"]
    parameters = {*symbol.list_arguments(), *symbol.list_auxiliary_states()} - {"data"}  # and what is made of them
    for node in nodes:
        if node["op"] == "null":
            continue
        inputs = [_output(nodes[place], number, shapes) for place, number, *_ in node["inputs"]]
        output = _output(node, 0, shapes)
        if parameters.issuperset(inputs):
            parameters.add(output)
        if node["op"] in _FREE:
            continue
        sizes = {name: math.prod(shapes[name]) * np.dtype(dtypes[name]).itemsize for name in [*inputs, output]}
        activations = [sizes[name] for name in inputs if name not in parameters]
        weight = sum(sizes[name] for name in inputs if name in parameters)
        written = sizes[output] if activations else 0
        yield Operator(
            node["op"],
            6 * _multiply_adds(node, inputs, output, shapes),
            3 * sum(activations) + (2 + _EXTRA_READS.get(node["op"], 0)) * written,
            3 * weight,
            shapes[output][-1] if len(shapes[output]) == 4 else 1,
            (shapes[output] + (1,))[1],
            int(node.get("attrs", {}).get("num_group", 1)),
            shapes[inputs[1]][1] if node["op"] in _PRODUCTS else 0,
            np.dtype(dtypes[output]).itemsize == 2,
        )


def _output(node: Dict, number: int, shapes: Dict[str, tuple]) -> str:
    """Name of an output of a node."""
    names = node["name"], f"{node['name']}_output", f"{node['name']}_output{number}"
    return next(name for name in names if name in shapes)


def _multiply_adds(node: Dict, inputs: List[str], output: str, shapes: Dict[str, tuple]) -> int:
    if node["op"] not in _PRODUCTS:
        return 0
    pixels = math.prod(shapes[output][2:])  # 1 behind a fully connected layer
    return int(math.prod(shapes[inputs[1]]) * pixels)


def multiply_adds(symbol: mx.sym.Symbol, size: int) -> int:
    """Multiplications of the convolutions and fully connected layers, for one image of `size` x `size`."""
    return int(sum(each.flops for each in network(symbol, size).operators)) // 6


# Shares of the multiply-adds above which a CPU with AVX512_BF16 is slower in bfloat16, as measured: docs/networks.md.
_IN_GROUPS, _WITHOUT_GAIN = 0.1, 0.4
_FEW_CHANNELS = 32


def why_slow_in_bfloat16(symbol: mx.sym.Symbol, image_size: int, head: int = 0) -> str:
    """Why a CPU trains a network more slowly in bfloat16 than in float32; empty if it is faster.

    Args:
        symbol: the plain backbone in float32.
        image_size: pixels in a row of its images.
        head: multiply-adds of the head for one image: numbers in the class centers of an update.
    """
    products = [each for each in network(symbol, image_size).operators if each.op in _PRODUCTS]
    in_groups = sum(each.flops for each in products if each.groups > 1 and each.reads > 1)  # depthwise is not slow
    without_gain = sum(
        each.flops
        for each in products
        if each.groups == 1 and (each.op == "FullyConnected" or each.reads < _FEW_CHANNELS)
    )
    total = sum(each.flops for each in products) + 6 * head
    if in_groups > _IN_GROUPS * total:
        return f"{in_groups / total:.0%} of the network's work are convolutions in groups, whose gradients are slow"
    if without_gain > _WITHOUT_GAIN * total:
        what = f"fully connected layers and convolutions of fewer than {_FEW_CHANNELS} channels"
        return f"{without_gain / total:.0%} of the network's work are {what}, and casts cost more than the rest gains"
    return ""
