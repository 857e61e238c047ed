"""Update of the class centers."""

import math
from typing import Callable, Dict, Protocol, Tuple, Type, Union

import mxnet as mx
import numpy as np

# Of AdamW, the values of its paper and of most programs, as float32 has them: MXNet computes 1 - beta from these, which
# for beta2 differs by 1e-5 from 0.001, and the correction of the moments has to go with it.
_BETA1, _BETA2, _EPSILON = float(np.float32(0.9)), float(np.float32(0.999)), 1e-8


class CenterOptimizer(Protocol):
    """What the head uses of an optimizer.

    Attributes:
        states: names of the arrays, of the shape of the centers, that a bank keeps for it.
    """

    states: Tuple[str, ...]

    def start(self, num_update: int) -> None:
        """Called before the blocks of centers of an update, counted from 0, are updated."""

    @property
    def update(self) -> Callable[..., None]:
        """Function of the centers (n, D), each of the states, the gradient, and the learning rate; works in place."""


class CenterSGD:
    """SGD with momentum: v <- momentum v - lr (grad + wd w), w <- w + v, for the centers that take part in a step.

    Args:
        momentum: share of the previous velocity that is kept.
        wd: weight decay.

    Attributes:
        states: names of the arrays, of the shape of the centers, that a bank keeps for this optimizer.
    """

    states: Tuple[str, ...] = ("weight_mom",)

    def __init__(self, momentum: float = 0.9, wd: float = 5e-4) -> None:
        self.momentum, self.wd = momentum, wd

    def start(self, num_update: int) -> None:
        """Called before the blocks of centers of an update, counted from 0, are updated."""

    def update(self, weight: mx.nd.NDArray, weight_mom: mx.nd.NDArray, grad: mx.nd.NDArray, lr: float) -> None:
        """Update `weight` (n, D) float32 and its `weight_mom` in place by `grad` (n, D) at learning rate `lr`."""
        mx.nd.sgd_mom_update(weight, grad, weight_mom, out=weight, lr=lr, momentum=self.momentum, wd=self.wd)


class CenterAdamW:
    """AdamW, see `adamw_update`, for the centers that take part in a step; the others and their moments stay.

    As in other optimizers for sampled rows (PyTorch's SparseAdam), the moments are corrected by the number of the
    update, not by how often a center has taken part.

    Args:
        wd: weight decay.

    Attributes:
        states: names of the arrays, of the shape of the centers, that a bank keeps for this optimizer.
    """

    states: Tuple[str, ...] = ("weight_mean", "weight_var")

    def __init__(self, wd: float = 5e-4) -> None:
        self.wd, self._num_update = wd, 0

    def start(self, num_update: int) -> None:
        """Called before the blocks of centers of an update, counted from 0, are updated."""
        self._num_update = num_update

    def update(
        self, weight: mx.nd.NDArray, mean: mx.nd.NDArray, var: mx.nd.NDArray, grad: mx.nd.NDArray, lr: float
    ) -> None:
        """Update `weight` (n, D) float32 and its moments in place by `grad` (n, D) at learning rate `lr`."""
        adamw_update(weight, mean, var, grad, lr, self.wd, self._num_update)


OPTIMIZERS: Dict[str, Union[Type[CenterSGD], Type[CenterAdamW]]] = {"sgd": CenterSGD, "adamw": CenterAdamW}


def adamw_update(
    weight: mx.nd.NDArray,
    mean: mx.nd.NDArray,
    var: mx.nd.NDArray,
    grad: mx.nd.NDArray,
    lr: float,
    wd: float,
    num_update: int,
    rescale_grad: float = 1.0,
) -> None:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2), in place.

    With g the gradient times `rescale_grad`, and t = num_update + 1:

        m <- 0.9 m + 0.1 g,  v <- 0.999 v + 0.001 g^2
        w <- w - lr wd w - lr (m / (1 - 0.9^t)) / (sqrt(v / (1 - 0.999^t)) + 1e-8)

    The learning rate is a factor of the decay, too, as in PyTorch: it stands for both factors of the paper.

    Args:
        weight, mean, var, grad: w, m, v and the gradient, float32 of one shape.
        num_update: counted from 0.
    """
    t = num_update + 1
    first, second = 1 - _BETA1**t, math.sqrt(1 - _BETA2**t)
    if lr * wd:  # not as a factor 1 - lr wd, which float32 would round by a tenth of a usual decay
        weight -= (lr * wd) * weight
    mx.nd.adam_update(
        weight,
        grad,
        mean,
        var,
        out=weight,
        lr=lr * second / first,
        beta1=_BETA1,
        beta2=_BETA2,
        epsilon=_EPSILON * second,
        wd=0.0,
        rescale_grad=rescale_grad,
    )
