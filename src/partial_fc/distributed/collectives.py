"""What ranks exchange. The only file that knows Horovod and mpi4py.

Every collective carries a fixed name: for a name it has seen, Horovod keeps the plan, and the ranks need not agree anew
(but for reduce-scatters, which Horovod 0.28 negotiates each time).
"""

import atexit
import hashlib
import json
import os
import sys

import mxnet as mx
import numpy as np

from .agreement import compare
from .communicator import Communicator
from .exchange import describe, groups, plain
from .hosts import check_gloo
from .watch import Watch, introduction, other_addresses

# What Open MPI, Gloo, and MPICH or Slurm (PMI, PMIx) set for the processes that they start.
_LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "HOROVOD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK")


def connect(stalls=True):
    """Join the ranks that horovodrun or mpirun started; alone, a world of one rank.

    From now on the failure of one rank ends all, see `watch`. A process that no launcher started loads neither Horovod
    nor MPI, which could fail for reasons that do not concern it.

    Args:
        stalls: whether a rank that keeps others waiting for too long is a failure.

    Returns:
        HorovodCommunicator; alone, Communicator.

    Raises:
        InputError: Gloo connects the ranks, and cannot on this host.
    """
    watch = Watch(stalls)
    if not any(name in os.environ for name in _LAUNCHED):
        return Communicator()
    import horovod.mxnet as hvd

    if os.environ.get("HOROVOD_CONTROLLER") == "gloo" or not hvd.mpi_built():
        check_gloo()
    with watch.joining():
        hvd.init()
        if hvd.size() == 1:
            return Communicator()
        comm = HorovodCommunicator(hvd, watch)
        if comm.transport == "Gloo":
            comm.warm_up()
        others = other_addresses(comm.all_gather_object(introduction()))
        meeting = comm.all_gather_object(None if comm.rank else watch.open(comm.world_size, others))[0]
    watch.join(comm.rank, meeting)
    atexit.register(_finish, comm)
    return comm


def _finish(comm):
    """Wait, when Python ends, for sums that nothing has waited for: Horovod would shut down before MXNet has made them.

    Functions of atexit run in reverse order: this one before the watch's goodbye and Horovod's shutdown.
    """
    try:
        with comm.waiting("the last sums of all ranks"):
            mx.nd.waitall()
    except mx.base.MXNetError:  # which atexit would only print
        sys.excepthook(*sys.exc_info())


def describe_build():
    """How Horovod was built, without joining any ranks.

    Returns:
        Dictionary that JSON can hold: `version`; `mpi`, `gloo`, `nccl`, `cuda`, whether it was built with them;
        `mpi_library`, name and version of the MPI that is loaded, or why there is none.
    """
    import horovod
    import horovod.mxnet as hvd

    built = dict(mpi=hvd.mpi_built(), gloo=hvd.gloo_built(), nccl=hvd.nccl_built(), cuda=hvd.cuda_built())
    flags = {name: bool(value) for name, value in built.items()}
    return dict(version=horovod.__version__, **flags, mpi_library=_mpi_library())


def _mpi_library():
    try:
        import mpi4py

        mpi4py.rc.initialize = False  # to ask for its version is all
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        return f"mpi4py cannot be imported: {error}"
    return MPI.Get_library_version().split(",")[0]


class HorovodCommunicator(Communicator):
    """Collectives of Horovod: NCCL or MPI or Gloo, as it was built and started.

    Labels and small objects of the host go through mpi4py where MPI is the launcher, on a communicator of their own,
    since Horovod's background thread talks to MPI at the same time; under Gloo they go through Horovod.
    """

    def __init__(self, hvd, watch):
        self._hvd = hvd
        self.doing, self.waiting, self.busy, self.fail = watch.doing, watch.waiting, watch.busy, watch.fail
        self.at_end = watch.at_end
        self.rank, self.local_rank = hvd.rank(), hvd.local_rank()
        self.world_size, self.local_size = hvd.size(), hvd.local_size()
        self._mpi = _duplicate_world() if hvd.mpi_enabled() else None
        self._agreed = set()  # what `describe` gave for arrays that all ranks have

    @property
    def transport(self):
        """Name of the transport of host-side data, `MPI` or `Gloo`."""
        return "MPI" if self._mpi else "Gloo"

    def warm_up(self):
        """A large first message, 4 MB to each rank and at most 64 MB to all.

        Gloo sizes the send buffers of its sockets by the first message and never enlarges them: after a small one, an
        all-gather of 8 MB takes 10 s instead of 0.03 s.
        """
        floats = self.world_size * min(2**20, 2**24 // self.world_size)
        self.reduce_scatter(mx.nd.ones((floats,)), name="warm_up").wait_to_read()

    def all_gather(self, array, name):
        self._count(array, self.world_size)
        with self.waiting(f"the {name} of all ranks"):
            return self._hvd.allgather(self._reachable(array), name=name).as_in_context(array.context)

    def reduce_scatter(self, array, name):
        self._count(array, 1)
        with self.waiting(f"the {name} of all ranks"):
            own = self._hvd.reducescatter(self._reachable(array), op=self._hvd.Sum, name=name)
            return own.as_in_context(array.context)

    def all_reduce(self, arrays):
        arrays = self._agreed_on(arrays)
        # A sum is asked for when its group is computed. The last gradients are there first: while their sums run, the
        # backward pass goes on.
        for priority, names in reversed(list(enumerate(groups(arrays)))):
            group = {name: self._reachable(arrays[name]) for name in names}
            for array in group.values():
                self._count(array, 2)
            self._hvd.grouped_allreduce_(list(group.values()), op=self._hvd.Sum, name=names[0], priority=-priority)
            _copy_back(group, arrays)

    def broadcast(self, arrays):
        arrays = self._agreed_on(arrays)
        for names in groups(arrays):
            self._broadcast_group({name: arrays[name] for name in names})

    def _agreed_on(self, arrays):
        """The arrays, if all ranks have the same; else CollectiveError on every rank. Compared the first time only."""
        described = describe(arrays)
        if described not in self._agreed:
            self._compare(described)
            self._agreed.add(described)
        return {name: array.as_nd_ndarray() for name, array in arrays.items()}  # not of mx.np

    def _compare(self, described):
        digest = np.frombuffer(hashlib.sha256(repr(described).encode()).digest()[:8], np.int64)
        with self.waiting("the names of the arrays of all ranks"):
            # Not through MPI: a rank that comes here alone must not meet the others where they gather labels.
            digests = self._hvd.allgather(mx.nd.array(digest, ctx=mx.cpu(), dtype="int64"), name="arrays").asnumpy()
        if len(set(digests.tolist())) > 1:
            compare("the array by the name", {name: f"{dtype} {shape}" for name, shape, dtype in described}, self)
            compare("the name", {f"array {i}": name for i, (name, *_) in enumerate(described)}, self)

    def _broadcast_group(self, arrays):
        # As an all-gather, to which the others add a number. Horovod 0.28 logs a broadcast's name after it has queued
        # it, when another thread may have finished and freed it, and crashes; a gather's name, before.
        flat = [self._reachable(array).reshape((-1,)) for array in arrays.values()]
        own = mx.nd.concat(*flat, dim=0) if self.rank == 0 else flat[0][:1]
        with self.waiting("the values of rank 0"):
            received = self._hvd.allgather(own, name=next(iter(arrays)))
        start = 0
        for array in arrays.values():
            received[start : start + array.size].reshape(array.shape).copyto(array)
            start += array.size

    def _reachable(self, array):
        """The array, `plain`; a copy in host memory where Horovod was built without CUDA and cannot read a GPU's."""
        array = plain(array)
        return array if self._hvd.cuda_built() else array.as_in_context(mx.cpu())

    def _count(self, array, times):
        """Count an array that goes around the ring `times` times, but for the part which stays."""
        size = array.size * np.dtype(array.dtype).itemsize
        self.bytes_sent += times * size * (self.world_size - 1) // self.world_size

    def all_gather_host(self, array):
        self._count(array, self.world_size)
        with self.waiting("the labels of all ranks"):
            if self._mpi is None:
                dtype = array.dtype.name
                array = mx.nd.array(array, ctx=mx.cpu(), dtype=dtype)
                return self._hvd.allgather(array, name="host_" + dtype).asnumpy()
            gathered = np.empty((self.world_size,) + array.shape, array.dtype)
            self._mpi.Allgather(np.ascontiguousarray(array), gathered)
            return gathered.reshape((-1,) + array.shape[1:])

    def all_gather_object(self, value):
        if self._mpi is not None:
            with self.waiting("a word of all ranks"):
                return self._mpi.allgather(value)
        encoded = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = self.all_gather_host(np.array([len(encoded)], np.int64))
        padded = np.zeros(lengths.max(), np.uint8)
        padded[: len(encoded)] = encoded
        rows = self.all_gather_host(padded).reshape(self.world_size, -1)
        return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths)]


def _copy_back(group, arrays):
    """Copy what was exchanged in host memory to where it came from."""
    for name, array in group.items():
        if array is not arrays[name]:
            array.copyto(arrays[name])


def _duplicate_world():
    """MPI's world, duplicated; Horovod has initialised MPI with MPI_THREAD_MULTIPLE before."""
    from mpi4py import MPI

    return MPI.COMM_WORLD.Dup()
