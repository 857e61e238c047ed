"""The published method as a baseline: arXiv 2010.05222, section 3, with the operators that MXNet offers for it.

Collectives are all-reduces: what has to be gathered is a sum of arrays that are zero but for one rank's part. The
margin is a one-hot matrix, and autograd goes back from the logits. Labels travel as float32: at most 2**24 classes.
"""

from typing import Tuple

import mxnet as mx
import numpy as np

from partial_fc.distributed.communicator import Communicator
from partial_fc.head.margin_softmax import MarginSoftmax


class PublishedHead:
    """Embeddings and labels in; loss and gradient out, centers updated.

    Args:
        weight: (num_local, D) float32 centers of this rank; updated in place.
        class_start: first of this rank's classes.
        sample_ratio: share r in (0, 1] of the centers that takes part in a step.
        margin: anything with the scale `s` and the margins `m2` (ArcFace) and `m3` (CosFace).
        comm: communicator over the ranks.
        seed: of the sampling.
    """

    momentum, wd = 0.9, 5e-4

    def __init__(
        self,
        weight: mx.nd.NDArray,
        class_start: int,
        sample_ratio: float,
        margin: MarginSoftmax,
        comm: Communicator,
        seed: int = 0,
    ) -> None:
        self.weight, self.weight_mom, self.class_start = weight, mx.nd.zeros_like(weight), class_start
        self.sample_ratio, self.margin, self.comm = sample_ratio, margin, comm
        self.random = np.random.RandomState(seed + comm.rank)

    def step(self, embeddings: mx.nd.NDArray, labels: np.ndarray, lr: float) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """Loss, gradient of the embeddings, and one update of the sampled centers.

        Args:
            embeddings: (b, D) float32 of this rank.
            labels: (b,) integer class ids.
            lr: learning rate of the centers.

        Returns:
            loss (1,), the mean over the global batch; its gradient with respect to `embeddings` (b, D).
        """
        total_embeddings = self._gather("embeddings", embeddings)  # (B, D)
        total_labels = self._gather("labels", mx.nd.array(labels))  # (B,)
        rows, columns = self._sample(total_labels.asnumpy().astype(np.int64) - self.class_start)
        weight = self.weight if rows is None else self.weight[rows]  # (C, D)
        total_embeddings.attach_grad()
        weight.attach_grad()
        with mx.autograd.record():
            one_hot = mx.nd.one_hot(columns, len(weight))  # (B, C); no one where the class is on another rank
            logits = self._logits(total_embeddings, weight, one_hot)
        loss, grad_logits = self._softmax(logits, one_hot, columns)
        logits.backward(grad_logits)
        grad = self._own_part(total_embeddings.grad) / len(columns)
        self._update(rows, weight, lr, 1 / len(columns))
        mx.nd.waitall()
        return loss, grad

    def _gather(self, name, array):
        """(n, ...) arrays of all ranks, (world_size * n, ...) in rank order."""
        total = mx.nd.zeros((self.comm.world_size * len(array),) + array.shape[1:])
        total[self._own(len(array))] = array
        self.comm.all_reduce({f"published/{name}": total})
        return total

    def _own(self, length):
        """This rank's slice of what was gathered."""
        return slice(self.comm.rank * length, (self.comm.rank + 1) * length)

    def _own_part(self, grad_total):
        """This rank's rows of the sum over the ranks."""
        self.comm.all_reduce({"published/grad_embeddings": grad_total})
        return grad_total[self._own(len(grad_total) // self.comm.world_size)]

    def _sample(self, shard_labels):
        """Sampled rows, ascending, None for all; and the column (B,) of each label among them, -1 on another rank."""
        num_local = len(self.weight)
        is_local = (shard_labels >= 0) & (shard_labels < num_local)
        if self.sample_ratio == 1:
            return None, mx.nd.array(np.where(is_local, shard_labels, -1))
        positives = np.unique(shard_labels[is_local])
        negatives = np.setdiff1d(np.arange(num_local), positives, assume_unique=True)
        count = max(int(self.sample_ratio * num_local) - len(positives), 0)
        sampled = self.random.choice(negatives, count, replace=False)
        rows = np.sort(np.concatenate([positives, sampled]))
        return rows, mx.nd.array(np.where(is_local, np.searchsorted(rows, shard_labels), -1))

    def _logits(self, total_embeddings, weight, one_hot):
        """Scaled cosines with the margin on the targets, (B, C)."""
        cos = mx.nd.FullyConnected(
            mx.nd.L2Normalization(total_embeddings), mx.nd.L2Normalization(weight), no_bias=True, num_hidden=len(weight)
        )
        if self.margin.m2:
            cos = mx.nd.cos(mx.nd.arccos(cos) + one_hot * self.margin.m2)
        if self.margin.m3:
            cos = cos - one_hot * self.margin.m3
        return cos * self.margin.s

    def _softmax(self, logits, one_hot, columns):
        """Mean loss (1,), and the gradient (B, C) of the sum of the losses."""
        largest = self._gather("max", mx.nd.max(logits, axis=1).expand_dims(0)).max(axis=0)  # (B,)
        exp = mx.nd.exp(logits - largest.expand_dims(1))
        sums = mx.nd.sum(exp, axis=1, keepdims=True)
        self.comm.all_reduce({"published/sum": sums})
        log_probability = mx.nd.pick(logits, columns, axis=1) - largest - mx.nd.log(sums).reshape(-1)
        loss = -mx.nd.sum(log_probability * (columns >= 0)) / len(columns)
        self.comm.all_reduce({"published/loss": loss})
        return loss, exp / sums - one_hot

    def _update(self, rows, weight, lr, rescale_grad):
        """SGD with momentum on the sampled rows, which are then put back."""
        weight_mom = self.weight_mom if rows is None else self.weight_mom[rows]
        mx.nd.sgd_mom_update(
            weight,
            weight.grad,
            weight_mom,
            out=weight,
            lr=lr,
            momentum=self.momentum,
            wd=self.wd,
            rescale_grad=rescale_grad,
        )
        if rows is not None:
            self.weight[rows], self.weight_mom[rows] = weight, weight_mom
