"""One rank of benchmarks.step."""

from typing import Any, Dict, Optional, Tuple
from unittest import mock

import mxnet as mx
import numpy as np

from partial_fc.backbone.fast import network_input
from partial_fc.data.batches import Batch
from partial_fc.distributed.collectives import connect
from partial_fc.distributed.communicator import Communicator
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.symbol import get_symbol
from partial_fc.training.module import FaceModule

from .measure import interleave, progress, spread, work

_LR = 0.1


class Update:
    """Backbone and head, and batches of noise for them."""

    def __init__(
        self,
        comm: Communicator,
        num_classes: int,
        sample_ratio: float,
        embedding_size: int,
        global_batch_size: int,
        network: str,
        image_size: int,
        precision: str = "float32",
        ctx: Optional[mx.Context] = None,
    ) -> None:
        progress(comm, "setting up")
        self.comm, self.num_classes, self.image_size = comm, num_classes, image_size
        self.batch_size, self.ctx = global_batch_size // comm.world_size, ctx or mx.cpu()
        bank = MemoryBank(num_classes, embedding_size, comm, sample_ratio, self.ctx)
        self.head = PartialFC(bank, MarginSoftmax(s=64.0, m3=0.4), CenterSGD(), comm, precision)
        symbol = get_symbol(network, embedding_size, "FC")
        self.module = FaceModule(symbol, self.head, comm, self.ctx, self.batch_size, image_size, precision=precision)
        shape = self.batch_size, embedding_size
        self.embeddings, self.grad = (mx.nd.random.normal(shape=shape, ctx=self.ctx) for _ in range(2))
        self.gradients = {f"alone/{name}": mx.nd.zeros_like(each) for name, each in self.module.arg_params.items()}

    def batch(self, number: int) -> Tuple[int, Batch]:
        """The round's number and its Batch."""
        random = np.random.default_rng([number, self.comm.rank])
        images = random.integers(0, 256, (self.batch_size, self.image_size, self.image_size, 3), np.uint8)
        labels = random.integers(0, self.num_classes, self.batch_size)
        return number, Batch(images, labels, labels)

    def backbone(self, number: int, batch: Batch) -> None:
        """An update of the backbone by a given gradient; what is summed over the ranks is of its gradients' size."""
        data = network_input(batch.images, self.ctx)
        self.module.module.forward(mx.io.DataBatch([data]), is_train=True)
        self.module.module.backward([self.grad * 1e-6])
        self.comm.all_reduce(self.gradients)
        self.module.module.update()

    def head_alone(self, number: int, batch: Batch) -> None:
        """An update of the centers by given embeddings."""
        self.head.step(self.embeddings, self.head.choose(batch.labels, number), _LR)

    def both(self, number: int, batch: Batch) -> None:
        """The update of training."""
        self.module.update(batch, number, _LR, _LR)


def measure(comm: Communicator, arguments: Dict[str, Any]) -> Dict[str, Any]:
    """Seconds of the parts, of the whole, and of the whole in float32 with the plain symbol as MXNet executes it."""
    update = Update(comm, **arguments["case"])
    with mock.patch("partial_fc.training.module.fast_symbol", lambda symbol, *_: symbol):
        stock = Update(comm, **dict(arguments["case"], precision="float32"))
    calls = dict(backbone=update.backbone, head=update.head_alone, step=update.both, stock=stock.both)
    seconds = interleave(comm, calls, arguments["runs"], update.batch, "update")
    result = dict(arguments["case"], ranks=comm.world_size)
    for name, values in seconds.items():
        result.update(spread(f"{name}_seconds", values))
    result["speed_up"] = result["stock_seconds"] / result["step_seconds"]
    result["ratio_to_parts"] = result["step_seconds"] / (result["backbone_seconds"] + result["head_seconds"])
    return result


if __name__ == "__main__":
    work(connect(), measure)
