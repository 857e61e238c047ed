"""Many ranks in one process: one thread per rank, collectives over shared memory."""

import threading
from concurrent.futures import ThreadPoolExecutor

import mxnet as mx
import numpy as np

from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError

# The thread of each rank, for all worlds: MXNet keeps memory for every thread that has used it, until the process ends.
_THREADS = []


class Shards:
    """A world of ``world_size`` ranks; ``run`` calls a function once per rank, each in its own thread."""

    def __init__(self, world_size):
        self.world_size = world_size
        self.barrier = threading.Barrier(world_size, timeout=60)
        self.slots = [None] * world_size

    def run(self, function):
        """List of ``function(comm)`` by rank; the first exception is raised again."""
        results, errors = [None] * self.world_size, []

        def work(rank):
            try:
                results[rank] = function(ShardCommunicator(self, rank))
            except BaseException as error:
                errors.append(error)
                if not isinstance(error, CollectiveError):  # which the others raise, too, some a little later
                    self.barrier.abort()

        _THREADS.extend(ThreadPoolExecutor(1) for _ in range(self.world_size - len(_THREADS)))
        for work_of_rank in [_THREADS[rank].submit(work, rank) for rank in range(self.world_size)]:
            work_of_rank.result()
        if errors:
            raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
        return results

    def exchange(self, rank, name, value):
        """Values of all ranks; every rank must be in the collective of the same name."""
        self.slots[rank] = (name, value)
        self.barrier.wait()
        names, values = zip(*self.slots)
        assert set(names) == {name}, f"ranks are in different collectives: {names}"
        self.barrier.wait()
        return values


class ShardCommunicator(Communicator):
    def __init__(self, shards, rank):
        self.shards, self.rank, self.local_rank, self.world_size = shards, rank, rank, shards.world_size

    def all_gather(self, array, name):
        values = self.shards.exchange(self.rank, name, array.asnumpy())
        return mx.nd.array(np.concatenate(values), ctx=array.context, dtype=array.dtype)

    def reduce_scatter(self, array, name):
        values = self.shards.exchange(self.rank, name, array.asnumpy())
        own = np.split(sum(values), self.world_size)[self.rank]
        return mx.nd.array(own, ctx=array.context, dtype=array.dtype)

    def all_reduce(self, arrays):
        for name, array in arrays.items():
            array[:] = mx.nd.array(sum(self.shards.exchange(self.rank, name, array.asnumpy())))

    def broadcast(self, arrays):
        for name, array in arrays.items():
            array[:] = mx.nd.array(self.shards.exchange(self.rank, name, array.asnumpy())[0])

    def all_gather_host(self, array):
        return np.concatenate(self.shards.exchange(self.rank, "host", array))

    def all_gather_object(self, value):
        return list(self.shards.exchange(self.rank, "object", value))
