"""Update of the class centers."""

import mxnet as mx


class CenterSGD:
    """SGD with momentum: v <- momentum v - lr (grad + wd w), w <- w + v, for the centers that take part in a step.

    Args:
        momentum: share of the previous velocity that is kept.
        wd: weight decay.
    """

    def __init__(self, momentum: float = 0.9, wd: float = 5e-4) -> None:
        self.momentum, self.wd = momentum, wd

    def update(self, weight: mx.nd.NDArray, weight_mom: mx.nd.NDArray, grad: mx.nd.NDArray, lr: float) -> None:
        """Update `weight` (n, D) float32 and its `weight_mom` in place by `grad` (n, D) at learning rate `lr`."""
        mx.nd.sgd_mom_update(weight, grad, weight_mom, out=weight, lr=lr, momentum=self.momentum, wd=self.wd)
