"""Backbone and head, trained together over all ranks."""

import json
import math
import time
from typing import NamedTuple

import mxnet as mx
import numpy as np

from ..backbone.batch_norm import check_batch_norm
from ..backbone.initializer import initialize
from ..distributed.monitor import IMAGES
from ..errors import CollectiveError, InputError, described, exit_status
from ..randomness import random_key


class UpdateStats(NamedTuple):
    """State of the training after an update.

    Attributes:
        num_update: updates done.
        loss: of the last one.
        seconds: spent in all of them, the wait for their data included.
        waited: seconds of these that this rank waited for data.
        position: in the data at which the next batch begins, see `Batch`.
        requests: what ranks have asked for since the update before, combined by bitwise or.
    """

    num_update: int
    loss: float
    seconds: float
    waited: float = 0.0
    position: int = 0
    requests: int = 0


START = UpdateStats(0, math.nan, 0.0)


class FaceModule:
    """A symbol that computes embeddings, under data parallelism, and the head that holds the classes.

    Args:
        symbol: from `data` (b, 3, H, W) to embeddings (b, D).
        head: PartialFC.
        comm: communicator.
        ctx: device of the backbone.
        batch_size: images a rank, b.
        image_size: H = W.
        seed: of the initial parameters and of dropout.
        momentum, wd: of the backbone's SGD.
        initializer: of its weights, a key of `INITIALIZERS`.
        bias_decay: whether weight decay acts on every parameter, as published; otherwise MXNet's rule spares biases and
            betas by their names. A variable of the symbol that has a `wd_mult` of its own keeps it.

    Raises:
        CollectiveError: on every rank, if batch normalization would see a single value per channel.
    """

    def __init__(
        self,
        symbol,
        head,
        comm,
        ctx,
        batch_size,
        image_size,
        seed=0,
        momentum=0.9,
        wd=5e-4,
        initializer="normal",
        bias_decay=True,
    ):
        self.symbol, self.head, self.comm, self.ctx, self.seed = symbol, head, comm, ctx, seed
        self.batch_size = batch_size
        self.module = mx.mod.Module(symbol, data_names=["data"], label_names=None, context=ctx)
        self.module.bind([("data", (batch_size, 3, image_size, image_size))], for_training=True)
        with comm.raise_on_all_ranks():
            check_batch_norm(symbol, (batch_size, 3, image_size, image_size))
        initialize(self.module, initializer, seed)
        self._take_arrays()
        self.broadcast_parameters()
        # The head's gradients hold the 1 / B of the mean, and ranks are summed: nothing is left to rescale.
        self.module.init_optimizer(
            kvstore=None, optimizer="sgd", optimizer_params=dict(momentum=momentum, wd=wd, rescale_grad=1.0)
        )
        if bias_decay:
            self._decay_all()
        self._make_momentum()
        self._draws = any(node["op"] == "Dropout" for node in json.loads(symbol.tojson())["nodes"])

    def _take_arrays(self):
        # Module gives out copies only (get_params); the collectives need the arrays it trains.
        executor, names = self.module._exec_group.execs[0], self.module._param_names
        self.arg_params = {name: executor.arg_dict[name] for name in names}
        self._aux_params = dict(executor.aux_dict)
        self._gradients = {"grad/" + name: executor.grad_dict[name] for name in names}

    @property
    def aux_params(self):
        """Running means and variances of batch normalization, NDArrays by name, after all updates so far.

        MXNet's backward pass changes them without telling its engine, which would let them be read before.
        """
        mx.nd.waitall()
        return self._aux_params

    def _decay_all(self):
        """Let weight decay act on what MXNet would spare by its name."""
        own = {name for name, attributes in self.symbol.attr_dict().items() if "__wd_mult__" in attributes}
        self.module._optimizer.set_wd_mult({name: 1.0 for name in self.arg_params if name not in own})

    def _make_momentum(self):
        """The optimizer's momentum by parameter, which MXNet would make in the first update; none if it is 0."""
        updater, self.momentum = self.module._updater, {}
        for index, (name, weight) in enumerate(self.arg_params.items()):
            updater.states[index] = updater.optimizer.create_state_multi_precision(index, weight)
            updater.states_synced[index] = True
            if updater.states[index] is not None:
                self.momentum[name] = updater.states[index]

    def broadcast_parameters(self):
        """Give every rank the parameters and statistics of rank 0."""
        self.comm.broadcast({"init/" + name: array for name, array in {**self.arg_params, **self.aux_params}.items()})

    def broadcast_momentum(self):
        """Give every rank the momentum of rank 0."""
        self.comm.broadcast({"momentum/" + name: array for name, array in self.momentum.items()})

    def fit(self, batches, schedule, max_update, callbacks, start=START, requests=lambda: 0):
        """Train up to an update.

        Args:
            batches: iterator of Batch.
            schedule: function from the update (counted from 0) to the learning rates of backbone and centers.
            max_update: updates to do in all.
            callbacks: functions of a UpdateStats, called after every update on every rank.
            start: UpdateStats of the last update of an earlier run that this one continues.
            requests: function without arguments, called before every update; all ranks find the integers it gave on any
                of them in the UpdateStats, combined by bitwise or.

        Raises:
            CollectiveError: on every rank, for a wrong image or label on any rank, and for a loss that is not finite.
        """
        seconds, waited = start.seconds, start.waited
        for num_update in range(start.num_update, max_update):
            self.comm.doing(f"update {num_update + 1}")
            begin = time.perf_counter()
            batch = self._next(batches)
            waited += time.perf_counter() - begin
            choice = self.head.choose(batch.labels, num_update, batch.records, requests())
            loss = self.step(batch.images, choice, num_update, *schedule(num_update))
            seconds += time.perf_counter() - begin
            for callback in callbacks:
                callback(UpdateStats(num_update + 1, loss, seconds, waited, batch.end, choice.requests))

    def _next(self, batches):
        try:
            with self.comm.waiting(IMAGES):
                return next(batches)
        except Exception as error:  # whatever a worker met: every rank is to end with it
            problem = str(error) if isinstance(error, InputError) else described(error)
            return self.head.fail(problem, exit_status(error))

    def update(self, batch, num_update, backbone_lr, memory_bank_lr):
        """One update of backbone and centers with this rank's Batch; returns the loss over the global batch."""
        choice = self.head.choose(batch.labels, num_update, batch.records)
        return self.step(batch.images, choice, num_update, backbone_lr, memory_bank_lr)

    def step(self, images, choice, num_update, backbone_lr, memory_bank_lr):
        """What `update` does once the rows are chosen.

        Args:
            images: (b, H, W, 3) uint8 RGB.
            choice: of the head, for their labels.
        """
        self._reseed(num_update)
        self.module.forward(self._data(images), is_train=True)
        loss, grad = self.head.step(self.module.get_outputs()[0], choice, memory_bank_lr)
        self.module.backward([grad])
        self.comm.all_reduce(self._gradients)
        self.module._optimizer.set_learning_rate(backbone_lr)
        self.module.update()
        # Known since the head's second collective: reading it waits for nothing behind that, and keeps the host from
        # running ahead of the device.
        loss = float(loss.asscalar())
        if not math.isfinite(loss):
            raise CollectiveError(
                f"update {num_update + 1}: the loss is {loss}, {self._broken_embeddings()}; "
                "try a smaller backbone_lr or loss_s"
            )
        return loss

    def _broken_embeddings(self):
        """Which ranks' embeddings are not finite; all ranks must call it."""
        finite = bool(np.isfinite(self.module.get_outputs()[0].asnumpy()).all())
        broken = [str(rank) for rank, other in enumerate(self.comm.all_gather_object(finite)) if not other]
        return f"the embeddings of rank {', '.join(broken)} are not finite" if broken else "all embeddings are finite"

    def embed(self, images):
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

    def averaged_statistics(self):
        """Averages over the ranks of the running means and variances of batch normalization, by name."""
        averages = {name: array.copy() for name, array in self.aux_params.items()}
        self.comm.all_reduce({"statistics/" + name: array for name, array in averages.items()})
        for array in averages.values():
            array /= self.comm.world_size
        return averages

    def average_statistics(self):
        """Replace this rank's statistics by the averages."""
        for name, average in self.averaged_statistics().items():
            average.copyto(self._aux_params[name])

    def _data(self, images):
        """Module's input from uint8 (b, H, W, 3); bytes travel to the device, floats are made there."""
        data = mx.nd.array(images, ctx=self.ctx, dtype="uint8").transpose((0, 3, 1, 2)).astype("float32")
        return mx.io.DataBatch([data])

    def _reseed(self, num_update):
        """Make dropout a function of (seed, update, rank), so that a run which is taken up again goes on exactly."""
        if self._draws:
            mx.random.seed(random_key(self.seed, "dropout", num_update, self.comm.rank) % 2**31)
