"""A rank that `launchers` starts: exchanges arrays with the others, checks the values and measures the speed."""

import json
import socket
import time
from typing import Any, Callable, Dict

import mxnet as mx
import numpy as np

from ..distributed.collectives import connect
from ..distributed.communicator import Communicator

MARK = "partial_fc.doctor.collective:"
_BYTES, _ROUNDS = 2**24, 5


def main() -> None:
    """Measure; rank 0 prints `MARK` and one line of JSON."""
    comm = connect(watch=True)
    own_gpu = bool(mx.runtime.Features().is_enabled("CUDA")) and comm.local_rank < mx.context.num_gpus()
    on_gpus = all(comm.all_gather_object(own_gpu))
    result = dict(
        transport=comm.transport,
        device="gpu" if on_gpus else "cpu",
        hosts=comm.all_gather_object(socket.gethostname()),
        **_measure(comm, mx.gpu(comm.local_rank) if on_gpus else mx.cpu()),
    )
    if comm.rank == 0:
        print(MARK, json.dumps(result), flush=True)


def _measure(comm: Communicator, ctx: mx.Context) -> Dict[str, Any]:
    """`right`, whether all values are right on every rank; `latency_ms`; `gb_s` per rank by collective.

    The network of a rank carries an array once around the ring, without the part that stays; twice in an all-reduce.
    """
    total = mx.nd.full((comm.world_size, _BYTES // 4 // comm.world_size), comm.rank + 1, ctx)
    own = total[0]
    small = mx.nd.ones((1,), ctx)
    calls = {
        "all_gather": lambda: comm.all_gather(own, name="doctor_gather"),
        "reduce_scatter": lambda: comm.reduce_scatter(total, name="doctor_scatter"),
        "all_reduce": lambda: comm.all_reduce({"doctor_reduce": total * 1}),
        "latency": lambda: comm.all_gather(small, name="doctor_small"),
    }
    right = comm.all_gather_object(_right(comm, own, total))
    seconds = {name: _seconds(comm, call) for name, call in calls.items()}
    latency = seconds.pop("latency")
    moved = total.size * 4 / 1e9 * (comm.world_size - 1) / comm.world_size
    speed = {name: (1 + (name == "all_reduce")) * moved / value for name, value in seconds.items()}
    return dict(right=all(right), latency_ms=1000 * latency, gb_s=speed)


def _right(comm: Communicator, own: mx.nd.NDArray, total: mx.nd.NDArray) -> bool:
    ranks = np.arange(1, comm.world_size + 1)
    gathered = comm.all_gather(own, name="doctor_gather").asnumpy().reshape(comm.world_size, -1)
    scattered = comm.reduce_scatter(total, name="doctor_scatter").asnumpy()
    reduced = {"doctor_reduce": total.copy()}
    comm.all_reduce(reduced)
    sums = scattered, reduced["doctor_reduce"].asnumpy()
    return bool((gathered == ranks[:, None]).all() and all((each == ranks.sum()).all() for each in sums))


def _seconds(comm: Communicator, call: Callable[[], Any]) -> float:
    """Seconds that the slowest rank takes in the best of the rounds."""
    rounds = []
    for _ in range(_ROUNDS):
        mx.nd.waitall()
        comm.all_gather_object(None)  # a barrier
        start = time.perf_counter()
        call()
        mx.nd.waitall()
        rounds.append(max(comm.all_gather_object(time.perf_counter() - start)))
    return min(rounds)


if __name__ == "__main__":
    main()
