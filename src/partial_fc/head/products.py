"""The three matrix products of a step, in the precision that is asked for."""

import ctypes
from typing import Tuple, Union

import mxnet as mx
import numpy as np
from mxnet.base import _LIB, c_str, check_call
from mxnet.contrib.amp.amp import bfloat16
from mxnet.ndarray._internal import _imperative_invoke

from .workspace import Workspace

_DTYPES = {"float32": "float32", "bfloat16": bfloat16, "float16": "float16"}
PRECISIONS = tuple(_DTYPES)
# Probabilities of one in a million classes are still normal numbers of float16 after multiplication by this, and sums
# over the classes stay below its largest, 65504.
_FLOAT16_GAIN = 2.0**11
_FLOAT16_BOUND = 2.0**15  # of sums over the batch
_LARGEST_SUM_GAIN = 2.0**40


class Products:
    """Logits, and both gradients, as products of matrices of the given precision; sums inside of them are float32.

    Args:
        precision: `float32`, `bfloat16` or `float16`; MXNet has float16 products on GPUs only.
        workspace: for operands and results.

    Attributes:
        is_low: whether the products take other numbers than float32.
        gain: what `gradients` expects probabilities to be multiplied by, and returns gradients multiplied by.

    Raises:
        ValueError: for another precision, and for float16 on a CPU.
    """

    def __init__(self, precision: str, workspace: Workspace) -> None:
        if precision not in _DTYPES:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        if precision == "float16" and workspace.ctx.device_type == "cpu":
            raise ValueError("precision float16 needs a GPU: MXNet has no float16 products on a CPU, use bfloat16")
        self.is_low = precision != "float32"
        self.gain = _FLOAT16_GAIN if precision == "float16" else 1.0
        self._dtype, self._workspace = _DTYPES[precision], workspace

    def operand(self, array: mx.nd.NDArray, name: str) -> mx.nd.NDArray:
        """A float32 array as the products take it: itself, or rounded into the scratch array `name`."""
        return self.narrow(array, self._array(name, array.shape)) if self.is_low else array

    def narrow(self, array: mx.nd.NDArray, out: mx.nd.NDArray) -> mx.nd.NDArray:
        """Round a float32 array into an operand `out` of its shape; nothing happens if `out` is the array itself."""
        return mx.nd.amp_cast(array, dtype=self._dtype, out=out) if self.is_low else out

    def wide(self, array: mx.nd.NDArray, name: str) -> mx.nd.NDArray:
        """An operand or a result as float32: itself, or a copy in the scratch array `name`."""
        if array.dtype == np.float32:
            return array
        return mx.nd.amp_cast(array, dtype="float32", out=self._workspace.array(name, array.shape))

    def logits(self, embeddings: mx.nd.NDArray, weight: mx.nd.NDArray) -> mx.nd.NDArray:
        """embeddings (B, D) times the transpose of weight (C, D): (B, C), both operands and the result."""
        out = self._array("logits", (len(embeddings), len(weight)))
        return mx.nd.FullyConnected(embeddings, weight, no_bias=True, num_hidden=len(weight), flatten=True, out=out)

    def gradients(
        self, grad_logits: mx.nd.NDArray, embeddings: mx.nd.NDArray, weight: mx.nd.NDArray
    ) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """grad_logits (B, C) times weight (C, D): (B, D); the transpose of grad_logits times embeddings: (C, D).

        On a CPU oneDNN computes both about twice as fast as `dot` does, and has them in bfloat16.
        """
        grads = self._array("grad_embeddings", embeddings.shape), self._array("grad_unit", weight.shape)
        if weight.context.device_type != "cpu":
            mx.nd.dot(grad_logits, weight, out=grads[0])
            mx.nd.dot(grad_logits, embeddings, transpose_a=True, out=grads[1])
            return grads
        names, values = zip(("no_bias", "True"), ("num_hidden", str(len(weight))), ("flatten", "True"))
        inputs, handle = [grad_logits, embeddings, weight], _operator("_backward_FullyConnected")
        _imperative_invoke(handle, inputs, names, values, list(grads), False, False)
        return grads

    def sum_gain(self, embeddings: mx.nd.NDArray, row_scale: mx.nd.NDArray) -> Union[float, mx.nd.NDArray]:
        """What to multiply embeddings by, besides `row_scale`, before `gradients` sums them over the batch.

        Probabilities are at most 1, so no entry of the centers' gradient exceeds the sum of the magnitudes of its
        column of embeddings. The largest power of two that keeps this sum below float16's largest number lets none
        overflow, however many samples agree, and keeps the most digits of small ones.

        Args:
            embeddings: (B, D) float32.
            row_scale: (B, 1) float32, of at least 0.

        Returns:
            (1, 1) NDArray, at most 2^40; 1.0 for types of float32's range.
        """
        if self.gain == 1:
            return 1.0
        largest = mx.nd.max(mx.nd.dot(row_scale, mx.nd.abs(embeddings), transpose_a=True), axis=1, keepdims=True)
        room = _FLOAT16_BOUND / self.gain / mx.nd.maximum(largest, 1 / _LARGEST_SUM_GAIN)
        return mx.nd.minimum(2 ** mx.nd.floor(mx.nd.log2(room)), _LARGEST_SUM_GAIN)

    def _array(self, name: str, shape: Tuple[int, ...]) -> mx.nd.NDArray:
        return self._workspace.array(name, shape, self._dtype)


def _operator(name: str) -> int:
    """Handle of an operator of MXNet that its Python functions do not give arguments to."""
    handle = ctypes.c_void_p()
    check_call(_LIB.NNGetOpHandle(c_str(name), ctypes.byref(handle)))
    return handle.value or 0
