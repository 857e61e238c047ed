"""The published training as a baseline: a backbone under data parallelism, with PublishedHead; arXiv 2010.05222.

Weight decay acts on every parameter. Gradients are summed over the ranks one by one; each rank keeps the batch
statistics of its own images.
"""

from typing import Dict, Mapping

import mxnet as mx
import numpy as np

from partial_fc.distributed.communicator import Communicator

from .published import PublishedHead

MOMENTUM = 0.9


class PublishedModel:
    """Backbone and head, as MXNet executes the plain symbol.

    Args:
        symbol: from `data` (b, 3, H, W) to embeddings (b, D).
        head: with the centers of this rank.
        comm: communicator over the ranks.
        batch_size: images per rank.
        image_size: H = W.
        wd: weight decay of the backbone.
        start: parameters and statistics by name. Published weights are normal with a standard deviation of 0.1, which
            our `initializer=normal` draws.
    """

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        head: PublishedHead,
        comm: Communicator,
        batch_size: int,
        image_size: int,
        wd: float,
        start: Mapping[str, mx.nd.NDArray],
    ) -> None:
        self.head, self.comm, self.wd = head, comm, wd
        self._executor = symbol.simple_bind(
            mx.cpu(),
            {name: "null" if name == "data" else "write" for name in symbol.list_arguments()},
            data=(batch_size, 3, image_size, image_size),
        )
        self.arg_params = {name: array for name, array in self._executor.arg_dict.items() if name != "data"}
        self.aux_params: Dict[str, mx.nd.NDArray] = dict(self._executor.aux_dict)
        self._momentum = {name: mx.nd.zeros_like(array) for name, array in self.arg_params.items()}
        for name, array in {**self.arg_params, **self.aux_params}.items():
            start[name].copyto(array)

    def update(self, images: np.ndarray, labels: np.ndarray, lr: float) -> float:
        """One update of backbone and centers.

        Args:
            images: (b, H, W, 3) uint8 RGB of this rank.
            labels: (b,) integers.
            lr: learning rate of both.

        Returns:
            The loss over the global batch.
        """
        data = mx.nd.array(images, dtype="uint8").transpose((0, 3, 1, 2)).astype("float32")
        (embeddings,) = self._executor.forward(is_train=True, data=data)
        loss, grad = self.head.step(embeddings, labels, lr)
        self._executor.backward([grad])
        for name, weight in self.arg_params.items():
            grad = self._executor.grad_dict[name]
            self.comm.all_reduce({f"published/{name}": grad})
            mx.nd.sgd_mom_update(
                weight, grad, self._momentum[name], out=weight, lr=lr, momentum=MOMENTUM, wd=self.wd, rescale_grad=1.0
            )
        mx.nd.waitall()
        return float(loss.asscalar())
