"""One rank of benchmarks.plan_here."""

import time
from typing import Any, Callable, Dict

import mxnet as mx
import numpy as np

from partial_fc.data.batches import Batch
from partial_fc.distributed.collectives import connect
from partial_fc.distributed.communicator import Communicator
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.symbol import get_symbol
from partial_fc.training.module import FaceModule

from .measure import interleave, progress, resident, work

_LR = 0.1


def _head(comm: Communicator, case: Dict[str, Any]) -> Callable[[int], object]:
    """A step of the head alone, with embeddings of noise."""
    bank = MemoryBank(case["num_classes"], case["embedding_size"], comm, case["sample_ratio"])
    head = PartialFC(bank, MarginSoftmax(s=64.0, m3=0.4), CenterSGD(), comm, case["precision"])
    shape = case["global_batch_size"] // comm.world_size, case["embedding_size"]
    embeddings = mx.nd.random.normal(shape=shape)

    def step(number: int) -> object:
        labels = np.random.default_rng([number, comm.rank]).integers(0, case["num_classes"], shape[0])
        return head.step(embeddings, head.choose(labels, number), _LR)

    return step


def _update(comm: Communicator, case: Dict[str, Any]) -> Callable[[int], object]:
    """A whole update of training."""
    bank = MemoryBank(case["num_classes"], case["embedding_size"], comm, case["sample_ratio"])
    head = PartialFC(bank, MarginSoftmax(s=64.0, m3=0.4), CenterSGD(), comm, case["precision"])
    size, batch_size = case["image_size"], case["global_batch_size"] // comm.world_size
    symbol = get_symbol(case["network"], case["embedding_size"], "FC")
    module = FaceModule(symbol, head, comm, mx.cpu(), batch_size, size, precision=case["precision"])

    def update(number: int) -> object:
        random = np.random.default_rng([number, comm.rank])
        images = random.integers(0, 256, (batch_size, size, size, 3), np.uint8)
        labels = random.integers(0, case["num_classes"], batch_size)
        return module.update(Batch(images, labels, labels), number, _LR, _LR)

    return update


def _processor_seconds(call: Callable[[int], object], runs: int) -> float:
    """Processor time of an update, of the fastest after two that are not counted."""
    seconds = []
    for number in range(2 + runs):
        start = time.process_time()
        call(number)
        mx.nd.waitall()
        seconds.append(time.process_time() - start)
    return min(seconds[2:])


def measure(comm: Communicator, arguments: Dict[str, Any]) -> Dict[str, float]:
    """Seconds of an update of the slowest rank, in the fastest round, and MiB of the rank that takes most."""
    case = arguments["case"]
    progress(comm, f"{case}: setting up")
    call = (_update if "network" in case else _head)(comm, case)
    if arguments["processor_time"]:
        seconds = _processor_seconds(call, arguments["runs"])
    else:
        seconds = min(interleave(comm, dict(update=call), arguments["runs"], lambda number: (number,))["update"])
    most = max(comm.all_gather_object(resident("VmHWM")))
    return dict(measured_seconds=seconds, measured_mib=most)


if __name__ == "__main__":
    work(connect(), measure)
