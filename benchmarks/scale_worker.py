"""One rank of benchmarks.scale."""

import resource
import time
from typing import Any, Dict, List, Tuple

import mxnet as mx
import numpy as np

from partial_fc.distributed.collectives import connect
from partial_fc.distributed.communicator import Communicator
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC

from .measure import interleave, progress, spread, work

_LR = 0.1
_MB = 2**20


class Bank:
    """A head with its bank, and batches for it."""

    def __init__(
        self, comm: Communicator, num_classes: int, sample_ratio: float, embedding_size: int, global_batch_size: int
    ) -> None:
        self.comm, self.num_classes = comm, num_classes
        self.shape = (global_batch_size // comm.world_size, embedding_size)
        progress(comm, f"{num_classes:,} classes: making the centers")
        start = time.perf_counter()
        bank = MemoryBank(num_classes, embedding_size, comm, sample_ratio)
        mx.nd.waitall()
        self.start_seconds = max(comm.all_gather_object(time.perf_counter() - start))
        self.head = PartialFC(bank, MarginSoftmax(s=64.0, m3=0.4), CenterSGD(), comm)

    def step(self, number: int) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """One update, the choice of its rows included."""
        random = np.random.default_rng([number, self.comm.rank])
        embeddings = mx.nd.array(random.standard_normal(self.shape, np.float32))
        choice = self.head.choose(random.integers(0, self.num_classes, self.shape[0]), number)
        return self.head.step(embeddings, choice, _LR)


def measure_steps(comm: Communicator, arguments: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Seconds of the start and of a step of every case, in turns."""
    banks = {str(case["num_classes"]): Bank(comm, **case) for case in arguments["cases"]}
    calls = {name: bank.step for name, bank in banks.items()}
    seconds = interleave(comm, calls, arguments["runs"], lambda number: (number,), "classes")
    return [
        dict(case, ranks=comm.world_size, start_seconds=bank.start_seconds, **spread("step_seconds", seconds[name]))
        for case, (name, bank) in zip(arguments["cases"], banks.items())
    ]


def measure_memory(comm: Communicator, arguments: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Peak memory of a rank after some steps of the only case, and what of it is not centers and momentum."""
    (case,) = arguments["cases"]
    bank = Bank(comm, **case)
    for number in range(3):
        bank.step(number)
        mx.nd.waitall()
    num_local, embedding_size = bank.head.bank.num_local, case["embedding_size"]
    peak = max(comm.all_gather_object(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    return [
        dict(
            case,
            ranks=comm.world_size,
            peak_rss_mb=peak,
            extra_mb=peak - 2 * 4 * num_local * embedding_size / _MB,
            allowed_mb=4 * num_local * (case["global_batch_size"] + 2 * embedding_size) / _MB,
        )
    ]


def measure(comm: Communicator, arguments: Dict[str, Any]) -> List[Dict[str, Any]]:
    """What `measure` names."""
    return dict(steps=measure_steps, memory=measure_memory)[arguments["measure"]](comm, arguments)


if __name__ == "__main__":
    work(connect(), measure)
