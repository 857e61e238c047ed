"""Optimizers of the backbone that MXNet lacks, registered with it, and norms of its arrays."""

import math
from typing import Any, Dict, Mapping, Tuple

import mxnet as mx
import numpy as np

from ..head.optimizer import adamw_update

# Numbers whose squares one product adds up in float32.
_BLOCK = 2**18
# The trust coefficient of LARS, as published: a step is this share of a layer's norm, times the learning rate.
_TRUST = 0.001


@mx.optimizer.register
class PartialFCAdamW(mx.optimizer.Optimizer):
    """AdamW as an optimizer of MXNet, see `adamw_update`; 1.9 has none of its own.

    `begin_num_update` is the number of the update: the caller sets it, so that it is no state.

    Attributes:
        begins: update at which the moments of a parameter began with 0, by its index; 0 for those that are not there.
    """

    def __init__(self, **others: Any) -> None:
        super().__init__(**others)
        self.begins: Dict[int, int] = {}

    def create_state(self, index: int, weight: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """Both moments, which begin with 0."""
        return mx.nd.zeros_like(weight), mx.nd.zeros_like(weight)

    def update(
        self, index: int, weight: mx.nd.NDArray, grad: mx.nd.NDArray, state: Tuple[mx.nd.NDArray, mx.nd.NDArray]
    ) -> None:
        """Update a parameter and its moments in place."""
        lr, wd = self._get_lr(index), self._get_wd(index)
        num_update = self.begin_num_update - self.begins.get(index, 0)
        adamw_update(weight, *state, grad, lr, wd, num_update, self.rescale_grad)


@mx.optimizer.register
class PartialFCLARS(mx.optimizer.Optimizer):
    """LARS (You et al. 2017, arXiv 1708.03888, algorithm 1): SGD with momentum and a learning rate for each layer.

    With g the gradient times `rescale_grad`, and the norms of all numbers of a parameter:

        rate = lr 0.001 |w| / (|g| + wd |w|)
        v <- momentum v - rate (g + wd w),  w <- w + v

    Parameters of one dimension (biases, those of batch normalization, slopes of PReLU) have the rate lr, as has a
    parameter whose norm, or that of its gradient, is 0. MXNet's own LARS takes norms that are wrong by a percent for
    millions of numbers, and changes the momentum when the learning rate changes. Nothing here waits for the device.

    Args:
        momentum: share of the previous velocity that is kept.
        others: as `mx.optimizer.Optimizer`.
    """

    def __init__(self, momentum: float = 0.9, **others: Any) -> None:
        super().__init__(**others)
        self.momentum = momentum

    def create_state(self, index: int, weight: mx.nd.NDArray) -> mx.nd.NDArray:
        """The velocity, which begins with 0."""
        return mx.nd.zeros_like(weight)

    def update(self, index: int, weight: mx.nd.NDArray, grad: mx.nd.NDArray, state: mx.nd.NDArray) -> None:
        """Update a parameter and its velocity in place."""
        rate, wd = (mx.nd.full((1,), value, weight.context) for value in (self._get_lr(index), self._get_wd(index)))
        if weight.ndim > 1:
            squares = (mx.nd.sum(_sums_of_squares(array)).reshape((1,)) for array in (weight, grad))
            rate = mx.nd.multi_lars(rate, *squares, wd, eta=_TRUST, eps=0.0, rescale_grad=self.rescale_grad)
        mx.nd.preloaded_multi_sgd_mom_update(
            *(weight, grad, state, rate, wd),
            momentum=self.momentum,
            rescale_grad=self.rescale_grad,
            num_weights=1,
            out=weight,
        )


# Names by which MXNet has registered the optimizers of a backbone.
OPTIMIZERS = {"sgd": "sgd", "adamw": PartialFCAdamW.__name__.lower(), "lars": PartialFCLARS.__name__.lower()}


def gradient_norm(gradients: Mapping[str, mx.nd.NDArray]) -> float:
    """The Euclidean norm of all numbers of float32 NDArrays together; waits for the device."""
    sums = mx.nd.concat(*(_sums_of_squares(gradient) for gradient in gradients.values()), dim=0)
    return math.sqrt(sums.asnumpy().sum(dtype=np.float64))


def _sums_of_squares(array: mx.nd.NDArray) -> mx.nd.NDArray:
    """Sums (n,) of the squares in each block of an array.

    MXNet's `norm` and `multi_sum_sq` add millions of squares one after the other in float32, which is wrong by a
    percent.
    """
    flat = array.reshape((-1,))
    blocks = (flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK))
    return mx.nd.concat(*(mx.nd.dot(block, block).reshape((1,)) for block in blocks), dim=0)
