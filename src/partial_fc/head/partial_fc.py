"""The head: one step of Partial FC over the class centers of all ranks.

With S ranks and b samples a rank, B = S b. Every rank gathers the B embeddings, compares them with the chosen ones of
its own centers, and gets back the gradient of its own b embeddings, as if one process had held all centers and the
whole batch. The embeddings themselves depend on the number of ranks where the backbone has batch normalization, whose
statistics are of each rank's own samples.
"""

from typing import NamedTuple, Optional

import mxnet as mx
import numpy as np

from ..errors import WRONG_INPUT, CollectiveError, InputError
from .labels import class_ids
from .normalize import l2_normalize, l2_normalize_backward
from .parallel_softmax import ShardTargets, combine, no_columns, shard_softmax
from .workspace import Workspace

# Up to this scale the softmax may rely on a zero column, see `shard_softmax`.
_LARGEST_SCALE = 64
# In the place of requests: this rank has no labels to send, or of another number.
_NO_LABELS = np.iinfo(np.int64).min


class SampledRows(NamedTuple):
    """What the host decides about a step before the embeddings are there.

    `rows`: (C,) int64 rows of the bank that take part; None for all of them.
    `columns`: (B,) int64, where each sample's class stands among these rows; -1 if it is on another rank.
    `requests`: the ranks' requests, combined by bitwise or.
    """

    rows: Optional[np.ndarray]
    columns: np.ndarray
    requests: int = 0


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
        self._workspace = Workspace(bank.ctx)
        self._batch_size = 0  # per rank, as all ranks have agreed last

    def choose(self, labels, num_update, records=None, requests=0):
        """Gather the labels of all ranks and choose the centers of update `num_update`. Host work only.

        Args:
            labels: (b,) class ids of this rank's samples, whole numbers in an NDArray, NumPy array or list.
            records: b names or numbers of the samples, for the error message.
            requests: integer that travels with the labels, for what ranks must know of each other at the same update.

        Raises:
            CollectiveError: on every rank, if any rank has a label that is no class, naming record and label; or
                labels of another type or shape than `class_ids` takes; or a batch of another size than the other ranks.
        """
        try:
            own, problem = class_ids(labels, self.bank.num_classes, records), None
        except InputError as error:
            own, problem = None, str(error)
        total_labels, requests = self._exchange(own, requests, problem)  # (B,)
        shard_labels = self.bank.partition.shard_labels(total_labels)
        rows = self.bank.sample(shard_labels, num_update)
        self.bank.prefetch(rows)
        if rows is None:
            return SampledRows(None, shard_labels, requests)
        return SampledRows(rows, np.where(shard_labels >= 0, np.searchsorted(rows, shard_labels), -1), requests)

    def fail(self, problem, status):
        """Take the place of `choose` on a rank that has no batch, so that all ranks raise `problem` (str).

        Args:
            status: exit status of the run then.

        Raises:
            CollectiveError: always, on every rank.
        """
        self._exchange(None, 0, problem, status)

    def _exchange(self, labels, requests, problem, status=WRONG_INPUT):
        """Labels (B,) and requests of all ranks, by one collective of a size that all ranks know from the last time.

        A rank with a problem, or with labels of another size, sends a sign instead: all ranks then speak of it.
        """
        fits = problem is None and len(labels) == self._batch_size
        sent = np.append(labels, requests) if fits else np.full(self._batch_size + 1, _NO_LABELS, np.int64)
        gathered = self.comm.all_gather_host(sent).reshape(self.comm.world_size, -1)
        if (gathered[:, -1] != _NO_LABELS).all():
            return gathered[:, :-1].reshape(-1), int(np.bitwise_or.reduce(gathered[:, -1]))
        self.comm.agree(problem, status)
        self._batch_size = self._common_size(len(labels))
        return self._exchange(labels, requests, None)

    def _common_size(self, batch_size):
        sizes = self.comm.all_gather_object(batch_size)
        for rank, size in enumerate(sizes):
            if size != sizes[0]:
                raise CollectiveError(
                    f"rank {rank} has a batch of {size} samples, rank 0 of {sizes[0]}: ranks must have batches of one "
                    "size; discard a last batch that is smaller"
                )
        return batch_size

    def step(self, embeddings, choice, lr):
        """Loss, gradient of the embeddings, and one update of the chosen centers.

        Args:
            embeddings: (b, D) float32 of this rank.
            choice: what `choose` returned for their labels.
            lr: learning rate of the centers.

        Returns:
            loss (1,), the mean over the global batch, bit-equal on every rank; its gradient with respect to
                `embeddings` (b, D).

        Raises:
            InputError: on this rank, for embeddings of another shape, dtype or device.
        """
        embeddings = self._checked(embeddings, choice)
        unit_embeddings, inverse_norm = l2_normalize(embeddings)  # (b, D), (b, 1)
        # Collectives block the host, not the device: what is asked of it before one runs while the ranks exchange.
        shard = self._open_shard(choice) if self.bank.num_local else None
        total_embeddings = self.comm.all_gather(unit_embeddings, name="embeddings")  # (B, D)
        if shard:
            loss, grad_total = self._shard_step(total_embeddings, shard, lr)
        else:  # more ranks than classes: this one adds nothing, but takes part in every collective
            loss, _, _ = combine(*no_columns(len(total_embeddings), total_embeddings.context), self.comm)
            grad_total = mx.nd.zeros_like(total_embeddings)
        grad_unit = self.comm.reduce_scatter(grad_total, name="grad_embeddings")  # (b, D)
        return loss, l2_normalize_backward(grad_unit, unit_embeddings, inverse_norm)

    def _checked(self, embeddings, choice):
        """The embeddings as an array of mx.nd.

        Raises:
            InputError: not float32 (b, D) on the bank's device, for the b labels of the choice.
        """
        shape = len(choice.columns) // self.comm.world_size, self.bank.embedding_size
        if not isinstance(embeddings, mx.nd.NDArray):
            raise InputError(f"embeddings must be an NDArray, not a {type(embeddings).__name__}")
        dtype = np.dtype(embeddings.dtype)
        if embeddings.shape != shape or dtype != np.float32 or embeddings.context != self.bank.ctx:
            raise InputError(
                f"embeddings must be float32 {shape} on {self.bank.ctx}, for the labels of this choice and the bank, "
                f"not {dtype} {embeddings.shape} on {embeddings.context}"
            )
        return embeddings.as_nd_ndarray()

    def _open_shard(self, choice):
        """The chosen centers of this rank, with unit length; with a last row of zeros if the scale allows it."""
        centers = self.bank.get(choice.rows)
        has_zero_row = self.margin.s <= _LARGEST_SCALE
        unit_weight = self._workspace.array("unit_weight", (len(centers) + has_zero_row, self.bank.embedding_size))
        inverse_norms = []
        for block in centers.blocks():
            unit = unit_weight[block]
            _, inverse_norm = l2_normalize(centers.weight(block, self._workspace), unit, self._scratch(unit))
            inverse_norms.append(inverse_norm)
        if has_zero_row:
            unit_weight[-1:] = 0
        targets, adder = _shard_targets(choice.columns, self.bank.ctx), _RowAdder(choice.columns, self.bank.ctx)
        return _Shard(centers, unit_weight, inverse_norms, has_zero_row, targets, adder)

    def _scratch(self, block):
        return self._workspace.array("scratch", block.shape)

    def _shard_step(self, total_embeddings, shard, lr):
        """This rank's centers: the loss, their part (B, D) of the embeddings' gradient, their own update."""
        s, batch_size, unit_weight, targets = self.margin.s, len(total_embeddings), shard.unit_weight, shard.targets
        logits = mx.nd.FullyConnected(  # (B, C); s is folded into the small matrix
            total_embeddings * s,
            unit_weight,
            no_bias=True,
            num_hidden=len(unit_weight),
            flatten=True,
            out=self._workspace.array("logits", (batch_size, len(unit_weight))),
        )
        cos_theta, slope = self.margin.target(mx.nd.pick(logits, targets.columns, axis=1) / s)  # (B,), (B,)
        softmax = shard_softmax(logits, targets, shard.has_zero_row)
        grad_total = mx.nd.dot(softmax.probabilities, unit_weight)
        loss, lse, target_grad = combine(softmax.lse, cos_theta * s * targets.is_local, self.comm)
        # By s cos(theta); the step to the softmax over all ranks is a factor a row, and belongs on the small matrices.
        row_scale = (mx.nd.exp(softmax.log_divisor - lse) * (s / batch_size)).reshape((-1, 1))
        target = (target_grad * targets.is_local * slope * (s / batch_size)).reshape((-1, 1))
        # The targets' part is added as B rows: in the matrix it would be divided by row_scale, which may underflow.
        grad_total = grad_total * row_scale + mx.nd.take(unit_weight, targets.columns) * target
        grad_unit = mx.nd.dot(
            softmax.probabilities,
            total_embeddings * row_scale,
            transpose_a=True,
            out=self._workspace.array("grad_unit", unit_weight.shape),
        )
        shard.adder.add(total_embeddings * target, grad_unit)
        self._update(shard, grad_unit, lr)
        return loss, grad_total

    def _update(self, shard, grad_unit, lr):
        """Update the chosen centers, block by block, from the gradient (C, D) by their unit vectors."""
        centers = shard.centers
        for block, inverse_norm in zip(centers.blocks(), shard.inverse_norms):
            unit = shard.unit_weight[block]
            grad = l2_normalize_backward(grad_unit[block], unit, inverse_norm, self._scratch(unit))
            weight, weight_mom = centers.weight(block, self._workspace), centers.weight_mom(block, self._workspace)
            self.optimizer.update(weight, weight_mom, grad, lr)
            centers.put(block, weight, weight_mom)


class _Shard(NamedTuple):
    """What a rank knows of its classes before the embeddings are there.

    `Centers` of this step, their unit vectors (C, D), 1 / length of each by block (n, 1), and where the targets are.
    """

    centers: object
    unit_weight: mx.nd.NDArray
    inverse_norms: list
    has_zero_row: bool
    targets: ShardTargets
    adder: object


def _shard_targets(columns, ctx):
    """`ShardTargets` on the device, from (B,) columns with -1 for the classes of other ranks."""
    return ShardTargets(
        mx.nd.array(np.maximum(columns, 0), ctx=ctx, dtype="int64"), mx.nd.array(columns >= 0, ctx=ctx, dtype="float32")
    )


class _RowAdder:
    """matrix[columns[i]] += values[i] for every i with columns[i] >= 0; columns may repeat.

    A sparse 0/1 matrix adds up the values of each distinct column, in the order of the batch. To make it waits for the
    device, to `add` does not.
    """

    def __init__(self, columns, ctx):
        local = np.flatnonzero(columns >= 0)
        self._any = len(local) > 0
        if self._any:
            distinct, position = np.unique(columns[local], return_inverse=True)
            by_column = local[np.argsort(position, kind="stable")]
            starts = np.concatenate([[0], np.cumsum(np.bincount(position))])
            ones, shape = np.ones(len(local), np.float32), (len(distinct), len(columns))
            self._sums = mx.nd.sparse.csr_matrix((ones, by_column, starts), shape=shape, ctx=ctx)
            self._rows = mx.nd.array(distinct, ctx=ctx, dtype="int64")

    def add(self, values, matrix):
        """Add the rows of `values` (B, D) to those of `matrix`, in place."""
        if self._any:
            matrix[self._rows] = mx.nd.take(matrix, self._rows) + mx.nd.sparse.dot(self._sums, values)
