"""One rank of benchmarks.collectives."""

from typing import Any, Callable, Dict, List, Optional, Tuple

import mxnet as mx
import numpy as np

from partial_fc.distributed.collectives import connect
from partial_fc.distributed.communicator import Communicator

from .measure import interleave, progress, spread, work

_BATCH_SIZE, _EMBEDDING_SIZE = 512, 512


def calls(comm: Communicator, ctx: Optional[mx.Context] = None) -> Dict[str, Tuple[Callable[[], Any], int]]:
    """The collectives of a step on arrays of its sizes: by name, (function, bytes of the whole array)."""
    local = mx.nd.ones((_BATCH_SIZE, _EMBEDDING_SIZE), ctx)
    # stays finite, however often it is summed
    total = mx.nd.zeros((comm.world_size * _BATCH_SIZE, _EMBEDDING_SIZE), ctx)
    shares = mx.nd.ones((2, comm.world_size * _BATCH_SIZE), ctx)
    labels = np.zeros(_BATCH_SIZE, np.int64)
    return {
        "all-gather of embeddings": (lambda: comm.all_gather(local, name="embeddings"), 4 * total.size),
        "the same by an all-reduce of zeros and embeddings": (lambda: gather_by_sum(comm, local), 4 * total.size),
        "reduce-scatter of their gradient": (lambda: comm.reduce_scatter(total, name="scatter"), 4 * total.size),
        "all-reduce of their gradient": (lambda: comm.all_reduce({"reduce": total}), 4 * total.size),
        "all-gather of log-sum-exp and target": (
            lambda: comm.all_gather(shares, name="shares"),
            4 * comm.world_size * shares.size,
        ),
        "all-gather of labels (host)": (lambda: comm.all_gather_host(labels), 8 * comm.world_size * labels.size),
    }


def gather_by_sum(comm: Communicator, array: mx.nd.NDArray) -> mx.nd.NDArray:
    """What `all_gather` returns, as the sum of arrays that are zero but for one rank's rows."""
    total = mx.nd.zeros((comm.world_size * len(array),) + array.shape[1:], array.context)
    total[comm.rank * len(array) : (comm.rank + 1) * len(array)] = array
    comm.all_reduce({"gather_by_sum": total})
    return total


def measure(comm: Communicator, arguments: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Cases of benchmarks.collectives without their launcher."""
    progress(comm, f"collectives under {comm.transport}")
    measured = calls(comm)
    seconds = interleave(comm, {name: call for name, (call, _) in measured.items()}, arguments["runs"])
    return [
        dict(collective=name, bytes=size, **spread("ms", [1000 * value for value in seconds[name]]))
        for name, (_, size) in measured.items()
    ]


if __name__ == "__main__":
    work(connect(), measure)
