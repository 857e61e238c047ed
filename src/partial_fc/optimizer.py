"""Update of the class centers."""

import mxnet as mx


class CenterSGD:
    """SGD with momentum on the chosen rows: v <- momentum v - lr (grad + wd w), w <- w + v. The others stay.

    Args:
        momentum: share of the old velocity that is kept.
        wd: weight decay.
    """

    def __init__(self, momentum=0.9, wd=5e-4):
        self.momentum, self.wd = momentum, wd

    def update(self, weight, weight_mom, rows, grad, lr):
        """Update in place.

        Args:
            weight: (num_local, D) float32, and `weight_mom` likewise.
            rows: (C,) int64 ascending rows which `grad` (C, D) belongs to; None for all of them in order.
            lr: learning rate.
        """
        if rows is not None:
            grad = mx.nd.sparse.row_sparse_array((grad, rows), shape=weight.shape, ctx=weight.context)
        mx.nd.sgd_mom_update(
            weight, grad, weight_mom, out=weight, lr=lr, momentum=self.momentum, wd=self.wd, lazy_update=True
        )
