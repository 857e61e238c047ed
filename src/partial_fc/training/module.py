"""Backbone and head, trained together over all ranks."""

import logging
import math
import time
from typing import Any, Callable, Dict, Iterable, Iterator, Optional, Sequence, Set, Tuple

import mxnet as mx
import numpy as np

from ..backbone.batch_norm import check_batch_norm
from ..backbone.fast import fast_symbol, network_input
from ..backbone.frozen import with_fixed_statistics
from ..backbone.initializer import initialize
from ..backbone.recompute import is_random, with_recompute
from ..data.batches import Batch
from ..distributed.communicator import Communicator
from ..distributed.monitor import IMAGES
from ..errors import CollectiveError, InputError, described, exit_status
from ..head.partial_fc import PartialFC
from ..head.sampled_rows import SampledRows
from ..randomness import random_key
from .backbone_update import BackboneUpdate, UpdateRule
from .gradient_sums import GradientSums
from .loss_scale import LossScale
from .update_stats import START, UpdateStats

log = logging.getLogger("partial_fc")

# Gradients that overflow even at this scale are not the fault of float16.
_SMALLEST_SCALE = 1.0


class FaceModule:
    """A symbol that computes embeddings, under data parallelism, and the head that holds the classes.

    Args:
        symbol: from `data` (b, 3, H, W) to embeddings (b, D), both float32. It stays as it is; what is executed is the
            one that `fast_symbol` makes of it.
        head: PartialFC.
        comm: communicator.
        ctx: device of the backbone.
        batch_size: images per rank and micro-batch, b.
        image_size: H = W.
        seed: of the initial parameters and of dropout.
        rule: how the backbone's parameters follow their gradients; None for that of an `UpdateRule()`.
        initializer: of its weights, a key of `INITIALIZERS`.
        precision: of the backbone's convolutions and products: `float32`, `bfloat16` or `float16`. Parameters,
            gradients, momentum and batch normalization are float32 in any case.
        loss_scale: None for a new one with float16, and for none with the other precisions, which need none.
        accumulate: k, micro-batches whose gradients are summed for an update. Without batch statistics and dropout it
            is that of one batch of k b images per rank, at the memory of one of b.
        memonger: whether activations are computed again in the backward pass, see `with_recompute`.

    Raises:
        CollectiveError: on every rank, if batch normalization would see a single value per channel.
    """

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        head: PartialFC,
        comm: Communicator,
        ctx: mx.Context,
        batch_size: int,
        image_size: int,
        seed: int = 0,
        rule: Optional[UpdateRule] = None,
        initializer: str = "normal",
        precision: str = "float32",
        loss_scale: Optional[LossScale] = None,
        accumulate: int = 1,
        memonger: bool = False,
    ) -> None:
        self.symbol, self.head, self.comm, self.ctx, self.seed = symbol, head, comm, ctx, seed
        self.batch_size, self.accumulate, self.precision = batch_size, accumulate, precision
        self.loss_scale = loss_scale or (LossScale() if precision == "float16" else None)
        rule = rule or UpdateRule()
        with comm.raise_on_all_ranks():
            self._frozen = rule.frozen(symbol)
        computed = with_fixed_statistics(symbol, self._frozen) if self._frozen else symbol
        shape, fast = (batch_size, 3, image_size, image_size), fast_symbol(computed, ctx, precision)
        self.module = mx.mod.Module(
            with_recompute(fast, shape) if memonger else fast,
            data_names=["data"],
            label_names=None,
            context=ctx,
            fixed_param_names=[name for name in symbol.list_arguments() if name in self._frozen],
        )
        self.module.bind([("data", shape)])
        with comm.raise_on_all_ranks():
            check_batch_norm(computed, shape)
        initialize(self.module, initializer, seed)
        self._take_arrays()
        self.broadcast_parameters()
        self._optimizer = BackboneUpdate(self.module, symbol, rule, self.arg_params, self._parameter_gradients)
        self._draws = is_random(symbol)

    def _take_arrays(self) -> None:
        # Module gives out copies only (get_params); the collectives need the arrays it trains.
        executor, names = self.module._exec_group.execs[0], self.module._param_names
        self.arg_params = {name: executor.arg_dict[name] for name in names}
        self._aux_params = dict(executor.aux_dict)
        self._parameter_gradients = {name: executor.grad_dict[name] for name in names if name not in self._frozen}
        self._gradients = {"grad/" + name: array for name, array in self._parameter_gradients.items()}
        self._sums = GradientSums(self._parameter_gradients)
        self._overflow = mx.nd.zeros((1,), ctx=self.ctx)  # how many ranks' centers have gradients that overflow
        if self.loss_scale:
            self._gradients["grad/overflow"] = self._overflow

    @property
    def aux_params(self) -> Dict[str, mx.nd.NDArray]:
        """Running means and variances of batch normalization, NDArrays by name, after all updates so far.

        MXNet's engine does not know that the backward pass changes them, and would let them be read before.
        """
        mx.nd.waitall()
        return self._aux_params

    @property
    def frozen(self) -> Set[str]:
        """Names of the parameters and statistics that stay as they are."""
        return self._frozen

    @property
    def momentum_names(self) -> Set[str]:
        """Names that `momentum` would have if nothing was frozen."""
        return {name for parameter in self.arg_params for name in self._optimizer.state_names(parameter)}

    @property
    def momentum(self) -> Dict[str, mx.nd.NDArray]:
        """State of the backbone's optimizer by name, see `BackboneUpdate`."""
        return self._optimizer.state

    def broadcast_parameters(self) -> None:
        """Give every rank the parameters and statistics of rank 0."""
        self.comm.broadcast({"init/" + name: array for name, array in {**self.arg_params, **self.aux_params}.items()})

    def begin_momentum(self, names: Iterable[str], num_update: int) -> None:
        """Note on rank 0 which of `momentum` begins with 0 at an update, before it is broadcast."""
        self._optimizer.begin(names, num_update)

    def broadcast_momentum(self) -> None:
        """Give every rank the momentum of rank 0."""
        self.comm.broadcast({"momentum/" + name: array for name, array in self.momentum.items()})
        self._optimizer.take_begins()

    def fit(
        self,
        batches: Iterator[Batch],
        schedule: Callable[[int], Tuple[float, float]],
        max_update: int,
        callbacks: Sequence[Callable[[UpdateStats], Any]],
        start: UpdateStats = START,
        requests: Callable[[], int] = lambda: 0,
    ) -> None:
        """Train up to an update.

        Args:
            batches: iterator of Batch.
            schedule: function from the update (counted from 0) to the learning rates of backbone and centers.
            max_update: updates to do in all.
            callbacks: functions of an UpdateStats, called after every update on every rank.
            start: UpdateStats of the last update of an earlier run that this one continues, with its loss scale.
            requests: function without arguments, called before every update; all ranks find the integers it gave on any
                of them in the UpdateStats, combined by bitwise or.

        Raises:
            CollectiveError: on every rank, for a wrong image or label on any rank, and for a loss that is not finite.
        """
        seconds, waited = start.seconds, start.waited
        if self.loss_scale:
            if start.loss_scale:
                self.loss_scale.load(start.loss_scale)
            if self.comm.rank == 0:
                log.info("loss scale %s", str(self.loss_scale))  # as it is now: records may be held
        for num_update in range(start.num_update, max_update):
            self.comm.doing(f"update {num_update + 1}")
            begin = time.perf_counter()
            batch = self._next(batches)
            waited += time.perf_counter() - begin
            choice = self.head.choose(batch.labels, num_update, batch.records, requests())
            loss = self.step(batch.images, choice, num_update, *schedule(num_update))
            seconds += time.perf_counter() - begin
            scale = self.loss_scale.state_dict() if self.loss_scale else None
            norm, count = self._optimizer.grad_norm, self.head.num_filtered
            filtered = None if count is None else float(count.asscalar())  # it came with the loss: no further wait
            more = batch.end, choice.requests, scale, norm, filtered
            for callback in callbacks:
                callback(UpdateStats(num_update + 1, loss, seconds, waited, *more))

    def _next(self, batches: Iterator[Batch]) -> Batch:
        try:
            with self.comm.waiting(IMAGES):
                return next(batches)
        except Exception as error:  # any error of a worker ends the run on every rank
            problem = str(error) if isinstance(error, InputError) else described(error)
            self.head.fail(problem, exit_status(error))
            raise

    def update(self, batch: Batch, num_update: int, backbone_lr: float, memory_bank_lr: float) -> float:
        """One update of backbone and centers with this rank's Batch; returns the loss over the global batch."""
        choice = self.head.choose(batch.labels, num_update, batch.records)
        return self.step(batch.images, choice, num_update, backbone_lr, memory_bank_lr)

    def step(
        self, images: np.ndarray, choice: SampledRows, num_update: int, backbone_lr: float, memory_bank_lr: float
    ) -> float:
        """What `update` does once the rows are chosen.

        Args:
            images: (k b, H, W, 3) uint8 RGB.
            choice: of the head, for their labels.

        Raises:
            CollectiveError: on every rank, for a loss that is not finite, or gradients that overflow at any loss scale.
        """
        if self.loss_scale:  # updates that were skipped have left no trace in the optimizers' state
            choice = choice._replace(num_update=num_update - self.loss_scale.skipped)
        total = 0.0
        *parts, last = zip(choice.micro_batches(self.accumulate), np.split(images, self.accumulate))
        for part in parts:
            total += self._checked(self._forward_backward(*part, num_update, memory_bank_lr), num_update)
        loss = self._forward_backward(*last, num_update, memory_bank_lr)
        if self.loss_scale:
            self._scaled_update(num_update, loss, backbone_lr, memory_bank_lr)
        else:
            self.comm.all_reduce(self._gradients)
            self._update_backbone(num_update, loss, backbone_lr)
        return total + self._checked(loss, num_update)

    def _forward_backward(
        self, choice: SampledRows, images: np.ndarray, num_update: int, memory_bank_lr: float
    ) -> mx.nd.NDArray:
        """Gradients of the micro-batches so far, and after the last the update of the centers; returns its loss (1,).

        With a loss scale, gradients are multiplied by it, and the update of the centers waits until it is known whether
        any overflows.
        """
        self._reseed(num_update, choice.part)
        self.module.forward(self._data(images), is_train=True)
        embeddings = self.module.get_outputs()[0]
        loss, grad = self.head.step(embeddings, choice, memory_bank_lr, defer=self.loss_scale is not None)
        self.module.backward([grad * self.loss_scale.scale if self.loss_scale else grad])
        if choice.parts > 1:
            self._sums.add(choice.part, choice.parts)
        return loss

    def _checked(self, loss: mx.nd.NDArray, num_update: int) -> float:
        """The loss of an update, or a micro-batch's share of it; all ranks have the same one.

        Raises:
            CollectiveError: on every rank, if it is not finite.
        """
        # Known since the head's second collective: reading it waits for nothing behind that, and keeps the host from
        # running ahead of the device.
        number = float(loss.asscalar())
        if not math.isfinite(number):
            raise CollectiveError(
                f"update {num_update + 1}: the loss is {number}, {self._broken_embeddings()}; "
                "try a smaller backbone_lr or loss_s"
            )
        return number

    def _update_backbone(self, num_update: int, loss: mx.nd.NDArray, lr: float, scale: float = 1.0) -> None:
        """Update the backbone by the sums of gradients; all ranks have the same ones, and raise the same errors."""
        try:
            skipped = self.loss_scale.skipped if self.loss_scale else 0
            self._optimizer.update(lr, num_update - skipped, scale)
        except ArithmeticError as error:
            self._checked(loss, num_update)  # the likely cause
            raise CollectiveError(f"update {num_update + 1}: {error}; try a smaller backbone_lr or loss_s") from None

    def _scaled_update(self, num_update: int, loss: mx.nd.NDArray, backbone_lr: float, memory_bank_lr: float) -> None:
        """Update backbone and centers by scaled gradients, unless any of them overflows on any rank.

        All ranks check the same sums, and one of these counts the ranks whose centers' gradient overflows: they skip
        the same updates without another collective.
        """
        assert self.loss_scale is not None
        scale = self.loss_scale.scale
        mx.nd.elemwise_sub(mx.nd.ones_like(self._overflow), self.head.centers_finite(), out=self._overflow)
        self.comm.all_reduce(self._gradients)
        sums = list(self._gradients.values())
        finite = bool(mx.nd.multi_all_finite(*sums, num_arrays=len(sums)).asscalar()) and not self._overflow.asscalar()
        if finite:
            self._update_backbone(num_update, loss, backbone_lr, scale)
            self.head.update_centers(memory_bank_lr)
        else:
            self._optimizer.grad_norm = None  # that of an earlier update
        changed = self.loss_scale.next(finite)
        if not finite and scale <= _SMALLEST_SCALE:
            raise CollectiveError(
                f"update {num_update + 1}: gradients overflow at a loss scale of {scale:g}: try a smaller backbone_lr, "
                "or precision float32"
            )
        if changed and self.comm.rank == 0:
            log.info("update %d  %s", num_update + 1, self.loss_scale.changed(finite))

    def _broken_embeddings(self) -> str:
        """Which ranks' embeddings are not finite; all ranks must call it."""
        finite = bool(np.isfinite(self.module.get_outputs()[0].asnumpy()).all())
        broken = [str(rank) for rank, other in enumerate(self.comm.all_gather_object(finite)) if not other]
        return f"the embeddings of rank {', '.join(broken)} are not finite" if broken else "all embeddings are finite"

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings (n, D) of uint8 RGB images (n, H, W, 3), the same on every rank, each of which computes its share.

        Batch statistics must agree between the ranks: see `average_statistics`.
        """
        share = -(-len(images) // self.comm.world_size)
        own = images[self.comm.rank * share : (self.comm.rank + 1) * share]
        embeddings = np.zeros((share, self.module.output_shapes[0][1][1]), np.float32)
        for start in range(0, len(own), self.batch_size):
            part = own[start : start + self.batch_size]
            padding = np.zeros((self.batch_size - len(part),) + part.shape[1:], np.uint8)
            self.module.forward(self._data(np.concatenate([part, padding])), is_train=False)
            embeddings[start : start + len(part)] = self.module.get_outputs()[0].asnumpy()[: len(part)]
        total = self.comm.all_gather(mx.nd.array(embeddings, ctx=self.ctx), name="verification")
        return total.asnumpy()[: len(images)]

    def averaged_statistics(self) -> Dict[str, mx.nd.NDArray]:
        """Averages over the ranks of the running means and variances of batch normalization, by name."""
        averages = {name: array.copy() for name, array in self.aux_params.items()}
        # Frozen statistics are equal on all ranks, but their average over three ranks might differ in the last bit.
        moving = {name: array for name, array in averages.items() if name not in self._frozen}
        self.comm.all_reduce({"statistics/" + name: array for name, array in moving.items()})
        for array in moving.values():
            array /= self.comm.world_size
        return averages

    def average_statistics(self) -> None:
        """Replace this rank's statistics by the averages."""
        for name, average in self.averaged_statistics().items():
            average.copyto(self._aux_params[name])

    def _data(self, images: np.ndarray) -> mx.io.DataBatch:
        """Module's input from uint8 (b, H, W, 3)."""
        return mx.io.DataBatch([network_input(images, self.ctx)])

    def _reseed(self, num_update: int, part: int) -> None:
        """Make dropout a function of (seed, update, rank, micro-batch): a run that is resumed continues exactly."""
        if self._draws:
            more = [part] if part else []
            mx.random.seed(random_key(self.seed, "dropout", num_update, self.comm.rank, *more) % 2**31)
