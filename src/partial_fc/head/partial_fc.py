"""The head: one step of Partial FC over the class centers of all ranks.

With S ranks and b samples per rank, B = S b. Every rank gathers the B embeddings, compares them with the chosen ones of
its own centers, and gets back the gradient of its own b embeddings, as if one process had held all centers and the
whole batch. The embeddings themselves depend on the number of ranks where the backbone has batch normalization, whose
statistics are of each rank's own samples.
"""

from typing import Any, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np

from ..errors import WRONG_INPUT, CollectiveError, InputError
from .block_softmax import softmax_in_blocks
from .labels import class_ids
from .margin_softmax import Margin
from .memory_bank import MemoryBank
from .negatives import NegativeLogits, Negatives
from .normalize import l2_normalize, l2_normalize_backward, row_sum
from .optimizer import CenterOptimizer
from .parallel_softmax import GlobalSoftmax, combine, no_columns
from .products import Products
from .ranks import Ranks
from .sampled_rows import SampledRows
from .shard import Shard, place
from .sub_centers import SubCenters
from .workspace import Workspace

# Up to this scale the softmax may rely on a zero column, see `shard_softmax`.
_LARGEST_SCALE = 64
# Sent in place of the requests by a rank that has no labels to send, or another number of them.
_NO_LABELS = np.iinfo(np.int64).min


class PartialFC:
    """The last layer: from embeddings and labels to the loss, the gradient of the embeddings and updated centers.

    Args:
        bank: `MemoryBank` of this rank.
        margin: `MarginSoftmax`, or another `Margin`.
        optimizer: `CenterSGD` or `CenterAdamW`, for whose state the bank has arrays; None for centers that stay as they
            are.
        comm: communicator over the ranks which the bank is spread over.
        precision: of the three matrix products: `float32`; `bfloat16`; `float16`, which needs a GPU. Target logits,
            softmax, loss, centers, momentum and what ranks exchange are float32 in any case.
        sub_centers: K, centers per class, see `sub_centers.py`. A row of the bank holds those of one class: its
            embedding size is K D.
        negatives: how the other classes take part in a sample's softmax; None for that of a `Negatives()`.

    Attributes:
        num_filtered: (1,) float32, filtered logits of the last update over all samples and ranks, bit-equal on every
            rank; None without filtering.

    Raises:
        ValueError: for another precision, for float16 on a CPU, for an embedding size that K does not divide, and for a
            bank of another optimizer.
    """

    def __init__(
        self,
        bank: MemoryBank,
        margin: Margin,
        optimizer: Optional[CenterOptimizer],
        comm: Ranks,
        precision: str = "float32",
        sub_centers: int = 1,
        negatives: Optional[Negatives] = None,
    ) -> None:
        if sub_centers < 1 or bank.embedding_size % sub_centers:
            raise ValueError(f"{bank.embedding_size} numbers per class are not those of {sub_centers} sub-centers")
        if optimizer and bank.states != optimizer.states:
            raise ValueError(
                f"the optimizer keeps {optimizer.states}, the bank has {bank.states}: give it these states"
            )
        self.bank, self.margin, self.optimizer, self.comm = bank, margin, optimizer, comm
        self.embedding_size = bank.embedding_size // sub_centers
        self.negatives = negatives or Negatives()
        self.num_filtered: Optional[mx.nd.NDArray] = None
        self._workspace = Workspace(bank.ctx)
        self._products = Products(precision, self._workspace)
        self._sub_centers = SubCenters(sub_centers, self._products, self._workspace)
        self._batch_size = 0  # per rank, as all ranks last agreed
        self._pending: Optional[Shard] = None  # with gradients of its centers that have not been applied
        self._next_part = 0  # of the update under way

    def choose(
        self, labels: Any, num_update: int, records: Union[Sequence, np.ndarray, None] = None, requests: int = 0
    ) -> SampledRows:
        """Gather the labels of all ranks and choose the centers of update `num_update`. Host work only.

        Args:
            labels: (b,) class ids of this rank's samples, whole numbers in an NDArray, NumPy array or list.
            records: b names or numbers of the samples, for the error message.
            requests: integer >= 0 that travels with the labels; every rank receives those of all ranks.

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
        if self._pending is None:  # a bank on the host writes the last step's rows back before it fetches the next
            self.bank.prefetch(rows)
        columns = shard_labels
        if rows is not None:
            columns = np.where(shard_labels >= 0, np.searchsorted(rows, shard_labels), -1)
        return SampledRows(rows, columns, requests, num_update, self.comm.world_size)

    def fail(self, problem: str, status: int) -> None:
        """Call this instead of `choose` on a rank that has no batch: all ranks raise an error with its problem.

        Args:
            problem: message of the error.
            status: exit status of the run then.

        Raises:
            CollectiveError: always, on every rank.
        """
        self._exchange(None, 0, problem, status)

    def _exchange(
        self, labels: Optional[np.ndarray], requests: int, problem: Optional[str], status: int = WRONG_INPUT
    ) -> Tuple[np.ndarray, int]:
        """Labels (B,) and requests of all ranks, by one collective of a size that all ranks know from the last time.

        A rank with a problem, or with labels of another size, sends a marker instead; all ranks then exchange problems
        and sizes.
        """
        sent = np.full(self._batch_size + 1, _NO_LABELS, np.int64)
        if labels is not None and len(labels) == self._batch_size:
            sent = np.append(labels, requests)
        gathered = self.comm.all_gather_host(sent).reshape(self.comm.world_size, -1)
        if (gathered[:, -1] != _NO_LABELS).all():
            return gathered[:, :-1].reshape(-1), int(np.bitwise_or.reduce(gathered[:, -1]))
        self.comm.agree(problem, status)
        assert labels is not None, "a rank without labels has a problem"
        self._batch_size = self._common_size(len(labels))
        return self._exchange(labels, requests, None)

    def _common_size(self, batch_size: int) -> int:
        sizes = self.comm.all_gather_object(batch_size)
        for rank, size in enumerate(sizes):
            if size != sizes[0]:
                raise CollectiveError(
                    f"rank {rank} has a batch of {size} samples, rank 0 of {sizes[0]}: ranks must have batches of one "
                    "size; discard a last batch that is smaller"
                )
        return batch_size

    def step(
        self, embeddings: mx.nd.NDArray, choice: SampledRows, lr: float, defer: bool = False
    ) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """Loss, gradient of the embeddings, and one update of the chosen centers.

        With micro-batches, the losses of an update add up to that of the whole batch, as do the gradients of the
        network's parameters, and the centers are updated by the sum of their gradients after the last one.

        Args:
            embeddings: (b, D) float32 of this rank.
            choice: what `choose` returned for their labels, or one of its `micro_batches`.
            lr: learning rate of the centers.
            defer: leave the centers as they are until `update_centers`; without that call they are not updated.

        Returns:
            loss (1,), the mean over the global batch, bit-equal on every rank; its gradient with respect to
                `embeddings` (b, D). Of a micro-batch, both are divided by the number of micro-batches.

        Raises:
            InputError: on this rank, for embeddings of another shape, dtype or device, and for a micro-batch that is
                not the next one of its update.
        """
        embeddings = self._checked(embeddings, choice)
        unit_embeddings, inverse_norm = l2_normalize(embeddings)  # (b, D), (b, 1)
        # Collectives block the host, not the device: operations queued before one run while the ranks exchange.
        shard = self._shard_for(choice)
        total_embeddings, norms = self._all_gather(unit_embeddings, embeddings)  # (B, D), (B,)
        self.margin.begin(choice.num_update, norms, choice.part)
        if shard:
            loss, grad_total, self._pending = self._shard_step(total_embeddings, shard, choice)
        else:  # more ranks than classes: this one adds nothing, but takes part in every collective
            loss = self._combine(*no_columns(len(total_embeddings), total_embeddings.context)).loss
            grad_total = mx.nd.zeros_like(total_embeddings)
        self._next_part = (choice.part + 1) % choice.parts
        if not (self._next_part or defer):
            self.update_centers(lr)
        grad_unit = self.comm.reduce_scatter(grad_total, name="grad_embeddings")  # (b, D)
        grad = l2_normalize_backward(grad_unit, unit_embeddings, inverse_norm)
        return loss / choice.parts if choice.parts > 1 else loss, grad

    def centers_finite(self) -> mx.nd.NDArray:
        """(1,) float32: 1 if the gradient of this rank's centers from the last deferred `step` is finite, else 0."""
        finite = mx.nd.ones((1,), ctx=self.bank.ctx)
        if self._pending is not None and self.optimizer:
            for block in self._pending.centers.blocks():
                grad = self._products.wide(self._pending.grad_unit[block], "grad_block")
                mx.nd.all_finite(grad, init_output=False, out=finite)
        return finite

    def update_centers(self, lr: float) -> None:
        """Update the centers that the last `step` has used by their gradient, at learning rate `lr`; only once."""
        if self._pending is not None and self.optimizer:
            self._update(self._pending, lr)
        self._pending = None

    def _checked(self, embeddings: mx.nd.NDArray, choice: SampledRows) -> mx.nd.NDArray:
        """The embeddings as an array of mx.nd.

        Raises:
            InputError: not float32 (b, D) on the bank's device, for the b labels of the choice, or out of order.
        """
        if choice.part not in (0, self._next_part):
            raise InputError(
                f"micro-batch {choice.part} of {choice.parts} of an update (counted from 0): {self._next_part} is next"
            )
        shape = len(choice.columns) // choice.world_size, self.embedding_size
        if not isinstance(embeddings, mx.nd.NDArray):
            raise InputError(f"embeddings must be an NDArray, not a {type(embeddings).__name__}")
        dtype = np.dtype(embeddings.dtype)
        if embeddings.shape != shape or dtype != np.float32 or embeddings.context != self.bank.ctx:
            raise InputError(
                f"embeddings must be float32 {shape} on {self.bank.ctx}, for the labels of this choice and the bank, "
                f"not {dtype} {embeddings.shape} on {embeddings.context}"
            )
        return embeddings.as_nd_ndarray()

    def _all_gather(
        self, unit: mx.nd.NDArray, embeddings: mx.nd.NDArray
    ) -> Tuple[mx.nd.NDArray, Optional[mx.nd.NDArray]]:
        """Unit embeddings (B, D) of all ranks, and their lengths (B,) before, if the margin uses them."""
        if not self.margin.uses_norms:
            return self.comm.all_gather(unit, name="embeddings"), None
        norms = row_sum(embeddings * unit)  # a last column, rather than a collective of their own
        total = self.comm.all_gather(mx.nd.concat(unit, norms, dim=1), name="embeddings")
        size = unit.shape[1]
        return mx.nd.slice_axis(total, 1, 0, size), mx.nd.slice_axis(total, 1, size, size + 1).reshape((-1,))

    def _shard_for(self, choice: SampledRows) -> Optional[Shard]:
        """The shard of an update, opened by the first micro-batch; None where this rank has no classes."""
        if choice.part:
            return self._pending and self._pending.at(choice.columns)
        self._pending, self._next_part = None, 0
        return self._open_shard(choice) if self.bank.num_local else None

    def _open_shard(self, choice: SampledRows) -> Shard:
        """The chosen centers of this rank, with unit length; with a last row of zeros if the scale allows it."""
        centers = self.bank.get(choice.rows)
        has_zero_row = self.margin.s <= _LARGEST_SCALE
        unit_weight = self._workspace.array("unit_weight", (len(centers) + has_zero_row, self.bank.embedding_size))
        inverse_norms = []
        for block in centers.blocks():
            unit, weight = (self._each(rows) for rows in (unit_weight[block], centers.weight(block, self._workspace)))
            _, inverse_norm = l2_normalize(weight, unit, self._scratch(unit))
            inverse_norms.append(inverse_norm)
        if has_zero_row:
            unit_weight[-1:] = 0
        negatives, num_local = self.negatives, self.bank.num_local
        weights = negatives.weights(choice.positives(), len(centers), num_local, has_zero_row, self.bank.ctx)
        logits = NegativeLogits(negatives, self.margin.s, self._workspace, weights)
        targets, adder = place(choice.columns, self.bank.ctx)
        return Shard(centers, unit_weight, inverse_norms, has_zero_row, choice.num_update, logits, targets, adder)

    def _each(self, rows: mx.nd.NDArray) -> mx.nd.NDArray:
        """Every center of some classes (n, K D) as a row, (n K, D); the same memory."""
        return rows.reshape((-1, self.embedding_size))

    def _scratch(self, block: mx.nd.NDArray) -> mx.nd.NDArray:
        return self._workspace.array("scratch", block.shape)

    def _shard_step(
        self, total_embeddings: mx.nd.NDArray, shard: Shard, choice: SampledRows
    ) -> Tuple[mx.nd.NDArray, mx.nd.NDArray, Shard]:
        """This rank's centers: the loss, their part (B, D) of the embeddings' gradient, and their own gradient."""
        s, targets, products, sub_centers = self.margin.s, shard.targets, self._products, self._sub_centers
        weight = products.operand(self._each(shard.unit_weight), "weight")
        # s is folded into the small matrix.
        all_logits = products.logits(products.operand(total_embeddings * s, "embeddings"), weight)  # (B, C K)
        logits, which = sub_centers.closest(all_logits)  # (B, C)
        target_weight = mx.nd.take(shard.unit_weight, targets.columns)  # (B, K D)
        target_weight, chosen = sub_centers.closest_target(total_embeddings, target_weight)  # (B, D)
        cos_theta, slope = self.margin.target(row_sum(total_embeddings * target_weight).reshape((-1,)))  # (B,), (B,)
        softmax = softmax_in_blocks(logits, targets, shard.has_zero_row, products, shard.negatives)
        whole = self._combine(softmax.lse, cos_theta * s * targets.is_local, softmax.num_filtered)
        # By cos(theta), times B / s; the step to the softmax over all ranks is a factor per row, and belongs on the
        # small matrices.
        row_scale = mx.nd.exp(softmax.log_divisor - whole.lse).reshape((-1, 1))
        target = (whole.target_grad * targets.is_local * slope).reshape((-1, 1))
        sum_gain = products.sum_gain(total_embeddings, row_scale)
        grad_total, grad_unit = products.gradients(
            sub_centers.spread(softmax.probabilities, which, all_logits),
            products.operand(total_embeddings * (row_scale * sum_gain), "embeddings"),
            weight,
        )
        grad_unit = grad_unit.reshape(shard.unit_weight.shape)
        # The targets' part is added as B rows: in the matrix it would be divided by row_scale, which may underflow.
        grad_total = products.wide(grad_total, "grad_total") * (row_scale / products.gain) + target_weight * target
        gain = products.gain * sum_gain
        target_sums = shard.adder.sums(sub_centers.of_target(total_embeddings * (target * gain), chosen))
        scale = s / (len(total_embeddings) * choice.parts)
        shard = shard._replace(grad_unit=grad_unit, target_sums=target_sums, gain=gain, scale=scale)
        return whole.loss, grad_total * scale, self._summed(shard, choice.part) if choice.parts > 1 else shard

    def _combine(
        self, lse_local: mx.nd.NDArray, target_logit: mx.nd.NDArray, num_filtered: Optional[mx.nd.NDArray] = None
    ) -> GlobalSoftmax:
        """`combine`, with the numbers of filtered logits in the same exchange: 0 on a rank without classes."""
        if self.negatives.filtering and num_filtered is None:
            num_filtered = mx.nd.zeros_like(lse_local)
        whole = combine(lse_local, target_logit, self.comm, num_filtered)
        if self._next_part and whole.num_filtered is not None:  # of an earlier micro-batch of the update
            self.num_filtered = self.num_filtered + whole.num_filtered
        else:
            self.num_filtered = whole.num_filtered
        return whole

    def _summed(self, shard: Shard, part: int) -> Shard:
        """The shard with the sum of its centers' gradients in the micro-batches up to `part`, in float32."""
        total = self._workspace.array("grad_sum", shard.unit_weight.shape)
        for block in shard.centers.blocks():
            grad = self._products.wide(shard.grad_unit[block], "grad_block")
            shard.adder.add(shard.target_sums, block, grad)
            if self._products.gain != 1:  # that of each micro-batch is another
                mx.nd.broadcast_div(grad, shard.gain, out=grad)
            if part:
                mx.nd.elemwise_add(total[block], grad, out=total[block])
            else:
                grad.copyto(total[block])
        return shard._replace(grad_unit=total, target_sums=None, gain=1.0)

    def _update(self, shard: Shard, lr: float) -> None:
        """Update the chosen centers, block by block, from the gradient (C, D) by their unit vectors."""
        assert self.optimizer, "centers without an optimizer have no pending gradient"
        centers = shard.centers
        self.optimizer.start(shard.num_update)
        for block, inverse_norm in zip(centers.blocks(), shard.inverse_norms):
            unit = self._each(shard.unit_weight[block])
            grad_unit = self._products.wide(shard.grad_unit[block], "grad_block")
            shard.adder.add(shard.target_sums, block, grad_unit)
            scale = inverse_norm * (shard.scale / shard.gain)
            grad = l2_normalize_backward(self._each(grad_unit), unit, scale, self._scratch(unit))
            weight, states = centers.weight(block, self._workspace), centers.states(block, self._workspace)
            self.optimizer.update(weight, *states, grad.reshape(weight.shape), lr)
            centers.put(block, weight, *states)
