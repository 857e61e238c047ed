"""Gradients of several micro-batches, summed."""

from typing import Dict, Mapping

import mxnet as mx


class GradientSums:
    """Sums of a backbone's gradients over the micro-batches of an update.

    MXNet can add gradients by itself (`grad_req="add"`), but not all of its operators do: casts of low precision leave
    the sum as it is.

    Args:
        gradients: by name, which each backward pass overwrites.
    """

    def __init__(self, gradients: Mapping[str, mx.nd.NDArray]) -> None:
        self._gradients = gradients
        self._sums: Dict[str, mx.nd.NDArray] = {}  # of the micro-batches before the last one

    def add(self, part: int, parts: int) -> None:
        """Call this after the backward pass of micro-batch `part` of `parts`, counted from 0.

        After the last one the gradients are the sums.
        """
        for name, gradient in self._gradients.items():
            if part == 0:
                self._sums[name] = gradient.copyto(self._sums.get(name, gradient.context))
            else:
                out = gradient if part == parts - 1 else self._sums[name]
                mx.nd.elemwise_add(self._sums[name], gradient, out=out)
