"""Trained models from ONNX files, ours or others', computed by ONNX Runtime on the CPU."""

import importlib
import os
from typing import Any, Tuple

import numpy as np

from ..errors import InputError, cause
from ..files import has_ending, refuse_pointer, sha256
from ..limits import threads_of_a_rank

# InsightFace's Python package looks at as many nodes for the operators that scale the input.
_FIRST_NODES = 8
_NEUTRAL = ("Identity", "Cast", "Transpose", "Pad", "Dropout", "Gather")


AS_THEY_ARE, USUAL = (0.0, 1.0), (127.5, 1 / 127.5)  # mean and scale; the latter as InsightFace's package has them


def is_onnx(name: str) -> bool:
    """Whether a model's name is the path of an ONNX file, not the PREFIX of MXNet's files."""
    return has_ending(name, ".onnx")


def import_onnx(package: str) -> Any:
    """The package `onnx` or `onnxruntime`; raises InputError that says how to get it if it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"ONNX needs the package {package} ({error}): pip install onnx onnxruntime") from error


class OnnxModel:
    """A network from images to embeddings.

    Args:
        path: of the file.
        threads: that compute; 0: those of a process alone on its host, see `threads_of_a_rank`.

    Attributes:
        name: the path.
        checksum: SHA-256 of the file, hexadecimal.
        scales_input: whether the graph itself expects pixels 0..255, as InsightFace's Python package finds out: it
            subtracts and multiplies among its first eight nodes; else it is to be given (x - 127.5) / 127.5.
        begins_with: names of the first operators, which `scales_input` is concluded from.
        ambiguous: whether it begins with a batch norm, which may stand for either.

    Raises:
        InputError: naming the file: missing or damaged, with parameters in other files, or without one input
            (N, 3, H, W) and one output; ONNX Runtime is not installed.
    """

    def __init__(self, path: str, threads: int = 0):
        if not os.path.isfile(path):
            raise InputError(f"`model` {path}: no such file")
        refuse_pointer(path)
        self.name, self.checksum = path, sha256(path)
        self._read_graph(path)
        self._session = _open_session(path, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            described = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise InputError(f"{path}: expected one float input (N, 3, H, W), found {described}")
        if len(outputs) != 1:
            raise InputError(f"{path}: expected one output, found {', '.join(each.name for each in outputs)}")
        self._input, self._output = inputs[0], outputs[0]

    def _read_graph(self, path: str) -> None:
        """Find out whether the graph scales its input."""
        onnx = import_onnx("onnx")
        try:
            graph = onnx.load(path, load_external_data=False).graph
        except Exception as error:  # protobuf's DecodeError, which has no public name in all versions
            raise InputError(f"{path}: not an ONNX model: {cause(error)}") from error
        if any(each.data_location == onnx.TensorProto.EXTERNAL for each in graph.initializer):
            raise InputError(f"{path}: has its parameters in other files; save it as one file, of at most 2 GB")
        first = [node for node in graph.node[:_FIRST_NODES]]
        named_bn = any(node.name == "bn_data" for node in first[:3])
        subtracts = any(node.name.startswith(("Sub", "_minus")) or node.op_type == "Sub" for node in first)
        multiplies = any(node.name.startswith(("Mul", "_mul")) or node.op_type in ("Mul", "Div") for node in first)
        operators = [node.op_type for node in first if node.op_type not in _NEUTRAL]
        self.scales_input = named_bn or (subtracts and multiplies)
        self.begins_with = " and ".join(operators[: 2 if self.scales_input else 1])
        self.ambiguous = not self.scales_input and operators[:1] == ["BatchNormalization"]

    @property
    def scaling(self) -> Tuple[float, float]:
        """Mean and scale of what the graph expects, (x - mean) * scale of pixels 0..255, see `scales_input`."""
        return AS_THEY_ARE if self.scales_input else USUAL

    def output_shape(self, size: Tuple[int, int]) -> Tuple[int, ...]:
        """Shape of the embedding of one image of `size` (H, W).

        Raises:
            InputError: the model does not take such images.
        """
        return self.forward(np.zeros((1, 3, *size), np.float32)).shape[1:]

    def forward(self, images: np.ndarray) -> np.ndarray:
        """Embeddings (N, D) of images (N, 3, H, W), both float32, scaled as the graph expects them.

        A graph of a fixed batch size gets as many at a time, the last ones padded with zeros.

        Raises:
            InputError: the model does not take images of that size, or does not give a row for each.
        """
        fixed = self._input.shape[0] if isinstance(self._input.shape[0], int) else len(images)
        parts = []
        for start in range(0, len(images), max(fixed, 1)):
            part = images[start : start + fixed]
            padded = np.zeros((fixed, *images.shape[1:]), np.float32)
            padded[: len(part)] = part
            parts.append(self._run(padded)[: len(part)])
        return np.concatenate(parts)

    def _run(self, images: np.ndarray) -> np.ndarray:
        try:
            (result,) = self._session.run(None, {self._input.name: images})
        except Exception as error:  # ONNX Runtime's types are not public
            size = f"{images.shape[2]}x{images.shape[3]}"
            raise InputError(f"`model` {self.name}: cannot take images of {size} pixels: {cause(error)}") from error
        if len(result) != len(images):
            raise InputError(
                f"`model` {self.name}: its output {result.shape} has no row for each of {len(images)} images"
            )
        return result.astype(np.float32, copy=False)


def _open_session(path: str, threads: int) -> Any:
    onnxruntime = import_onnx("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or threads_of_a_rank()
    options.log_severity_level = 3  # errors; warnings are about the graph's history
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's types are not public
        raise InputError(f"{path}: ONNX Runtime cannot load it: {cause(error)}") from error
