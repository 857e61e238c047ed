"""The head: one step of Partial FC over the class centers of all ranks.

With S ranks and b samples a rank, B = S b. Every rank gathers the B embeddings, compares them with the chosen ones of
its own centers, and gets back the gradient of its own b embeddings, as if one process had held all centers and the
whole batch.
"""

from typing import NamedTuple, Optional

import mxnet as mx
import numpy as np

from .normalize import l2_normalize, l2_normalize_backward
from .parallel_softmax import ShardTargets, combine, no_columns, parallel_softmax


class Choice(NamedTuple):
    """What the host decides about a step before the embeddings are there.

    `rows`: (C,) int64 rows of the bank that take part; None for all of them.
    `columns`: (B,) int64, where each sample's class stands among these rows; -1 if it is on another rank.
    """

    rows: Optional[np.ndarray]
    columns: np.ndarray


class PartialFC:
    """The last layer: from embeddings and labels to the loss, the gradient of the embeddings and updated centers.

    Args:
        bank: `MemoryBank` of this rank.
        margin: `MarginSoftmax`.
        optimizer: `CenterSGD`.
        comm: communicator over the ranks which the bank is spread over.
    """

    def __init__(self, bank, margin, optimizer, comm):
        self.bank, self.margin, self.optimizer, self.comm = bank, margin, optimizer, comm

    def choose(self, labels, num_update, records=None):
        """Gather the labels of all ranks and choose the centers of update `num_update`. Host work only.

        Args:
            labels: (b,) integer class ids of this rank's samples.
            records: b names or numbers of the samples, for the error message.

        Raises:
            AgreedError: on every rank, naming record and label, if a label of any rank lies outside [0, N).
        """
        labels = np.asarray(labels, dtype=np.int64)
        total_labels = self.comm.all_gather_host(labels)  # (B,)
        if total_labels.min() < 0 or total_labels.max() >= self.bank.num_classes:
            # Every rank sees the same gathered labels, so all of them get here or none.
            self.comm.agree(self._wrong_labels(labels, records))
        shard_labels = self.bank.partition.shard_labels(total_labels)
        rows = self.bank.sample(shard_labels, num_update)
        if rows is None:
            return Choice(None, shard_labels)
        return Choice(rows, np.where(shard_labels >= 0, np.searchsorted(rows, shard_labels), -1))

    def fail(self, problem, batch_size):
        """Take the place of `choose` on a rank that has no batch, so that all ranks raise `problem` (str).

        Raises:
            AgreedError: always, on every rank.
        """
        self.comm.all_gather_host(np.full(batch_size, -1, dtype=np.int64))
        self.comm.agree(problem)

    def _wrong_labels(self, labels, records):
        """What is wrong with this rank's labels; None if nothing is."""
        num_classes = self.bank.num_classes
        wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))[:3]
        if not len(wrong):
            return None
        names = range(len(labels)) if records is None else records
        named = ", ".join(f"record {names[i]} has label {labels[i]}" for i in wrong)
        return f"{named}, outside [0, {num_classes}): mend the records, or set num_classes to the number of identities"

    def step(self, embeddings, choice, lr):
        """Loss, gradient of the embeddings, and one update of the chosen centers.

        Args:
            embeddings: (b, D) float32 of this rank.
            choice: what `choose` returned for their labels.
            lr: learning rate of the centers.

        Returns:
            loss (1,), the mean over the global batch, bit-equal on every rank; its gradient with respect to
                `embeddings` (b, D).
        """
        unit_embeddings, inverse_norm = l2_normalize(embeddings)  # (b, D), (b, 1)
        total_embeddings = self.comm.all_gather(unit_embeddings, name="embeddings")  # (B, D)
        shard_step = self._shard_step if self.bank.num_local else self._empty_shard_step
        loss, grad_total = shard_step(total_embeddings, choice, lr)
        grad_unit = self.comm.reduce_scatter(grad_total, name="grad_embeddings")  # (b, D)
        return loss, l2_normalize_backward(grad_unit, unit_embeddings, inverse_norm)

    def _shard_step(self, total_embeddings, choice, lr):
        """This rank's centers: the loss, their part (B, D) of the embeddings' gradient, their own update."""
        weight = self.bank.get(choice.rows)  # (C, D)
        unit_weight, inverse_norm = l2_normalize(weight)  # (C, D), (C, 1)
        targets = _shard_targets(choice.columns, weight.context)
        s = self.margin.s
        logits = mx.nd.FullyConnected(  # (B, C); s is folded into the small matrix
            total_embeddings * s, unit_weight, no_bias=True, num_hidden=unit_weight.shape[0], flatten=True
        )
        cos_theta, slope = self.margin.target(mx.nd.pick(logits, targets.columns, axis=1) / s)  # (B,), (B,)
        loss, grad_logits = parallel_softmax(logits, cos_theta * s * targets.is_local, targets, self.comm)
        grad_logits = grad_logits._replace(target=grad_logits.target * slope.reshape((-1, 1)))  # by s cos(theta)
        grad_total, grad_unit = self._backward(grad_logits, total_embeddings, unit_weight, targets, choice)
        grad_weight = l2_normalize_backward(grad_unit, unit_weight, inverse_norm)
        self.optimizer.update(self.bank.weight, self.bank.weight_mom, choice.rows, grad_weight, lr)
        return loss, grad_total

    def _backward(self, grad_logits, total_embeddings, unit_weight, targets, choice):
        """Gradients by the unit embeddings, (B, D), and by the unit centers, (C, D).

        The targets' part is added as B rows: in the matrix it would be divided by row_scale, which may underflow.
        """
        probabilities, row_scale, target = grad_logits
        row_scale, target = row_scale * self.margin.s, target * self.margin.s
        grad_embeddings = mx.nd.dot(probabilities, unit_weight) * row_scale
        grad_embeddings += mx.nd.take(unit_weight, targets.columns) * target
        grad_weight = mx.nd.dot(probabilities, total_embeddings * row_scale, transpose_a=True)
        _add_rows(grad_weight, choice.columns, total_embeddings * target)
        return grad_embeddings, grad_weight

    def _empty_shard_step(self, total_embeddings, choice, lr):
        """A rank without classes (more ranks than classes) adds nothing, but takes part in every collective."""
        loss, _, _ = combine(*no_columns(len(total_embeddings), total_embeddings.context), self.comm)
        return loss, mx.nd.zeros_like(total_embeddings)


def _shard_targets(columns, ctx):
    """`ShardTargets` on the device, from (B,) columns with -1 for the classes of other ranks."""
    return ShardTargets(
        mx.nd.array(np.maximum(columns, 0), ctx=ctx, dtype="int64"),
        mx.nd.array(columns >= 0, ctx=ctx, dtype="float32"),
    )


def _add_rows(matrix, columns, values):
    """matrix[columns[i]] += values[i] for every i with columns[i] >= 0, in place; columns may repeat.

    A sparse 0/1 matrix adds up the values of each distinct column, in the order of the batch.
    """
    local = np.flatnonzero(columns >= 0)
    if not len(local):
        return
    distinct, position = np.unique(columns[local], return_inverse=True)
    by_column = local[np.argsort(position, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(position))])
    adder = mx.nd.sparse.csr_matrix(
        (np.ones(len(local), np.float32), by_column, starts), shape=(len(distinct), len(columns)), ctx=matrix.context
    )
    rows = mx.nd.array(distinct, ctx=matrix.context, dtype="int64")
    matrix[rows] = mx.nd.take(matrix, rows) + mx.nd.sparse.dot(adder, values)
