"""A trained model as an ONNX file, which takes raw pixels and any number of images.

MXNet's exporter is the base. It needs help with details of a symbol, and its file with what other programs
expect: parameters that are constants, names, an operator set that older runtimes know, and a description of the input.
"""

import contextlib
import copy
import json
import logging
import os
import tempfile
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Sequence, Tuple

import mxnet as mx
import numpy as np

from ..backbone.graph import is_true
from ..errors import InputError, cause
from ..eval.model import Model
from ..eval.onnx_model import import_onnx
from ..files import atomic_path

# The exporter's translations are those of opset 13 and before; it would write the newest number that `onnx` knows.
OPSET, IR_VERSION = 13, 7
PRODUCER = "partial-fc"
_INPUT = "data"
_PARAMETER = "null"
_LARGE = 4096  # numbers of a parameter


def export_onnx(
    model: Model,
    path: str,
    size: Tuple[int, int],
    scaling: Tuple[float, float] = (0.0, 1.0),
    bgr: bool = False,
    metadata: Mapping[str, str] = {},
) -> None:
    """Write a model as ONNX: `data` (N, 3, H, W) float32, raw RGB 0..255, to embeddings (N, D) float32.

    Args:
        model: as `load_model` gives it.
        path: of the new file.
        size: H, W of the images.
        scaling: mean and scale of what the symbol itself expects, (x - mean) * scale; it becomes part of the graph.
        bgr: whether the symbol expects blue, green, red; the graph then turns RGB around.
        metadata: strings by name, stored beside `embedding_size`, `color_order`, `input_range` and `image_size`.

    Raises:
        InputError: `onnx` is not installed; the symbol has operators that the exporter does not support.
        OSError: naming the file, if it cannot be written.
    """
    onnx = import_onnx("onnx")
    shape = (1, 3, *size)
    _check_operators(model)
    symbol = _explicit_flatten(model.symbol)
    parameters = _onnx_parameters(symbol, model.parameters, shape)
    exported = _run_exporter(onnx, symbol, parameters, shape, model.name)
    _remove_constant_inputs(exported.graph)
    _name_nodes(exported.graph)
    _scale_input(onnx, exported.graph, scaling, bgr)
    _describe(onnx, exported, shape, int(np.prod(_output_shape(model.symbol, shape)[1:])), metadata)
    onnx.checker.check_model(exported)
    with atomic_path(path) as unfinished:
        onnx.save_model(exported, unfinished)


def _check_operators(model: Model) -> None:
    used = {node["op"] for node in json.loads(model.symbol.tojson())["nodes"]} - {_PARAMETER}
    unknown = sorted(used - set(mx.onnx.get_operator_support()))
    if unknown:
        raise InputError(f"{model.name}: MXNet's ONNX exporter does not support the operators {', '.join(unknown)}")


def _explicit_flatten(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The symbol with `flatten` written at every FullyConnected: the exporter takes a missing one for False."""
    symbol = copy.deepcopy(symbol)
    inner = symbol.get_internals()
    for node in json.loads(symbol.tojson())["nodes"]:
        if node["op"] == "FullyConnected":
            inner[f"{node['name']}_output"]._set_attr(flatten=node["attrs"].get("flatten", "True"))
    return symbol


def _onnx_parameters(
    symbol: mx.sym.Symbol, parameters: Mapping[str, mx.nd.NDArray], shape: Sequence[int]
) -> Dict[str, mx.nd.NDArray]:
    """The symbol's parameters, with two differences between MXNet and ONNX made good.

    ONNX has no `fix_gamma`: those gammas are 1. Its PReLU aligns slopes with the last axes, MXNet's with the channels.
    """
    needed = {*symbol.list_arguments(), *symbol.list_auxiliary_states()} - {_INPUT}
    result = {name: parameters[name] for name in needed}
    nodes = json.loads(symbol.tojson())["nodes"]
    dimensions = _dimensions(symbol, shape)
    for node in nodes:
        attributes = node.get("attrs", {})
        names = [nodes[source]["name"] for source, *_ in node["inputs"]]
        if node["op"] == "BatchNorm" and is_true(attributes, "fix_gamma", default=True):
            result[names[1]] = mx.nd.ones_like(result[names[1]])
        if node["op"] == "LeakyReLU" and attributes.get("act_type") == "prelu":
            source, output, *_ = node["inputs"][0]
            entry = nodes[source]["name"], output
            result[names[1]] = result[names[1]].reshape((-1,) + (1,) * (dimensions[entry] - 2))
    return result


def _dimensions(symbol: mx.sym.Symbol, shape: Sequence[int]) -> Dict[Tuple[str, int], int]:
    """Number of axes of every output of every node, by name of the node and number of the output."""
    inner = symbol.get_internals()
    _, shapes, _ = inner.infer_shape(data=tuple(shape))
    result: Dict[Tuple[str, int], int] = {}
    for output, found in zip(inner, shapes):
        number = 0
        while (output.name, number) in result:
            number += 1
        result[output.name, number] = len(found)
    return result


def _output_shape(symbol: mx.sym.Symbol, shape: Sequence[int]) -> Sequence[int]:
    _, (result,), _ = symbol.infer_shape(data=tuple(shape))
    return result


class _StandIn(NamedTuple):
    """What the exporter gets for a large parameter, which it would take apart number by number: minutes for r50."""

    shape: Tuple[int, ...]
    dtype: type = np.float32

    def asnumpy(self) -> np.ndarray:
        """One number, of as many axes."""
        return np.zeros((1,) * len(self.shape), self.dtype)


def _run_exporter(
    onnx: Any, symbol: mx.sym.Symbol, parameters: Dict[str, mx.nd.NDArray], shape: Sequence[int], name: str
) -> Any:
    with tempfile.TemporaryDirectory() as folder, _root_logger_as_it_is():
        path = os.path.join(folder, "model.onnx")
        try:
            mx.onnx.export_model(
                symbol,
                {name: _StandIn(array.shape) if array.size > _LARGE else array for name, array in parameters.items()},
                in_shapes=[tuple(shape)],
                in_types=[np.float32],
                onnx_file_path=path,
                dynamic=True,
                dynamic_input_shapes=[("N", *shape[1:])],
            )
        except (AttributeError, NotImplementedError, ValueError, KeyError, TypeError, mx.base.MXNetError) as error:
            raise InputError(f"{name}: MXNet's ONNX exporter cannot export it: {cause(error)}") from error
        exported = onnx.load(path)
    for each in exported.graph.initializer:
        if each.name in parameters:
            each.CopyFrom(onnx.numpy_helper.from_array(parameters[each.name].asnumpy(), each.name))
    return exported


@contextlib.contextmanager
def _root_logger_as_it_is() -> Iterator[None]:
    """Context after which the root logger has the handlers it had: the exporter adds one, which repeats our log."""
    root = logging.getLogger()
    before = root.handlers[:]
    try:
        yield
    finally:
        root.handlers[:] = before


def _remove_constant_inputs(graph: Any) -> None:
    """Leave only the images as input: runtimes fold batch norms into convolutions only where both are constants."""
    constants = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)


def _name_nodes(graph: Any) -> None:
    for node in graph.node:
        node.name = node.name or node.output[0]


def _scale_input(onnx: Any, graph: Any, scaling: Tuple[float, float], bgr: bool) -> None:
    """Put the color order and the scaling in front of the first operator.

    The names begin with Sub and Mul: by these, among the first eight nodes, InsightFace's Python package recognizes a
    model that scales its own input.
    """
    steps = [("Gather", np.array([2, 1, 0]))] if bgr else []
    if scaling != (0.0, 1.0):
        steps += list(zip(("Sub", "Mul"), np.array(scaling, np.float32)))
    nodes, last = [], _INPUT
    for operator, value in steps:
        name = f"{operator}_of_input"
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), f"{name}_value"))
        attributes = {"axis": 1} if operator == "Gather" else {}
        nodes.append(onnx.helper.make_node(operator, [last, f"{name}_value"], [name], name=name, **attributes))
        last = name
    for node in graph.node:
        node.input[:] = [last if each == _INPUT else each for each in node.input]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes + rest)


def _describe(onnx: Any, exported: Any, shape: Sequence[int], embedding_size: int, metadata: Mapping[str, str]) -> None:
    del exported.opset_import[:]
    exported.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    exported.ir_version, exported.producer_name = IR_VERSION, PRODUCER
    (output,) = exported.graph.output
    output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, ["N", embedding_size]))
    own = dict(
        embedding_size=str(embedding_size), color_order="RGB", input_range="0..255", image_size=f"{shape[2]}x{shape[3]}"
    )
    onnx.helper.set_model_props(exported, {**metadata, **own})
