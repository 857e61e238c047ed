"""What ranks exchange. The only file that imports Horovod and mpi4py.

Every collective carries a fixed name: for a name it has seen, Horovod keeps the plan, and the ranks need not negotiate
it again (except for reduce-scatters, which Horovod 0.28 negotiates each time).
"""

import atexit
import contextlib
import hashlib
import json
import os
import sys
from typing import Any, Callable, ContextManager, Dict, List, Set

import mxnet as mx
import numpy as np

from .agreement import compare
from .communicator import Communicator
from .exchange import Described, describe, groups, plain
from .hosts import check_gloo
from .watch import Watch, introduction, other_addresses

# Variables that Open MPI, Gloo, and MPICH or Slurm (PMI, PMIx) set for the processes that they start.
_LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "HOROVOD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK")


def connect(watch: bool = False, stalls: bool = True) -> Communicator:
    """Join the ranks that horovodrun or mpirun started; without a launcher, a world of one rank.

    A process that no launcher started loads neither Horovod nor MPI, whose errors would not concern it.

    Args:
        watch: whether to watch over the ranks, see `watch.py`: the failure of one rank ends all of them, and the last
            line says which failed and why. A watch starts a thread, connects it with rank 0, which listens until all
            ranks have joined, and extends `sys.excepthook`. Without one, errors spread as Horovod and the launcher
            have it.
        stalls: whether the watch also ends a run in which a rank keeps the others waiting for too long.

    Returns:
        The communicator of this rank.

    Raises:
        InputError: Gloo connects the ranks, and cannot on this host; an environment variable of the watch is wrong.
    """
    watching = Watch(stalls) if watch else None
    if not any(name in os.environ for name in _LAUNCHED):
        return Communicator()
    import horovod.mxnet as hvd

    if os.environ.get("HOROVOD_CONTROLLER") == "gloo" or not hvd.mpi_built():
        check_gloo()
    with watching.joining() if watching else contextlib.nullcontext():
        hvd.init()
        if hvd.size() == 1:
            return Communicator()
        comm = WatchedCommunicator(hvd, watching) if watching else HorovodCommunicator(hvd)
        if comm.transport == "Gloo":
            comm.warm_up()
        meeting = _meet(comm, watching) if watching else {}
    if watching:
        watching.join(comm.rank, meeting)
    atexit.register(_finish, comm)
    return comm


def _meet(comm: Communicator, watch: Watch) -> Dict[str, Any]:
    """What every rank needs to join the watch; rank 0 listens from now on."""
    others = other_addresses(comm.all_gather_object(introduction()))
    return comm.all_gather_object(None if comm.rank else watch.open(comm.world_size, others))[0]


def _finish(comm: Communicator) -> None:
    """Wait, when Python ends, for sums that nothing has waited for: Horovod would shut down before MXNet has made them.

    After an exception that nothing caught there is nothing to wait for: other ranks may never come to these sums.
    Functions of atexit run in reverse order: this one before the watch's goodbye and Horovod's shutdown.
    """
    if getattr(sys, "last_type", None):
        return
    try:
        with comm.waiting("the last sums of all ranks"):
            mx.nd.waitall()
    except mx.base.MXNetError:  # atexit would only print it
        sys.excepthook(*sys.exc_info())


def describe_build() -> Dict[str, Any]:
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


def _mpi_library() -> str:
    try:
        import mpi4py

        mpi4py.rc.initialize = False  # only its version is needed
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        return f"mpi4py cannot be imported: {error}"
    return MPI.Get_library_version().split(",")[0]


class HorovodCommunicator(Communicator):
    """Collectives of Horovod: NCCL or MPI or Gloo, as it was built and started.

    Labels and small objects of the host go through mpi4py where MPI is the launcher, on a communicator of their own,
    since Horovod's background thread talks to MPI at the same time; under Gloo they go through Horovod.
    """

    def __init__(self, hvd: Any) -> None:
        self._hvd = hvd
        self.rank, self.local_rank = hvd.rank(), hvd.local_rank()
        self.world_size, self.local_size = hvd.size(), hvd.local_size()
        self._mpi = _duplicate_world() if hvd.mpi_enabled() else None
        self._agreed: Set[Described] = set()  # descriptions of arrays that all ranks have

    @property
    def transport(self) -> str:
        """Name of what carries host-side data: `MPI` or `Gloo`."""
        return "MPI" if self._mpi else "Gloo"

    def warm_up(self) -> None:
        """Exchange a large first message, 4 MB to each rank and at most 64 MB to all.

        Gloo sizes the send buffers of its sockets by the first message and never enlarges them: after a small one, an
        all-gather of 8 MB takes 10 s instead of 0.03 s.
        """
        floats = self.world_size * min(2**20, 2**24 // self.world_size)
        self.reduce_scatter(mx.nd.ones((floats,)), name="warm_up").wait_to_read()

    def all_gather(self, array: mx.nd.NDArray, name: str) -> mx.nd.NDArray:
        self._count(array, self.world_size)
        with self.waiting(f"the {name} of all ranks"):
            return self._hvd.allgather(self._reachable(array), name=name).as_in_context(array.context)

    def reduce_scatter(self, array: mx.nd.NDArray, name: str) -> mx.nd.NDArray:
        self._count(array, 1)
        with self.waiting(f"the {name} of all ranks"):
            own = self._hvd.reducescatter(self._reachable(array), op=self._hvd.Sum, name=name)
            return own.as_in_context(array.context)

    def all_reduce(self, arrays: Dict[str, mx.nd.NDArray]) -> None:
        arrays = self._agreed_on(arrays)
        # The backward pass computes the last gradients first: their sums run while it computes the others.
        for priority, names in reversed(list(enumerate(groups(arrays)))):
            group = {name: self._reachable(arrays[name]) for name in names}
            for array in group.values():
                self._count(array, 2)
            self._hvd.grouped_allreduce_(list(group.values()), op=self._hvd.Sum, name=names[0], priority=-priority)
            _copy_back(group, arrays)

    def broadcast(self, arrays: Dict[str, mx.nd.NDArray]) -> None:
        arrays = self._agreed_on(arrays)
        for names in groups(arrays):
            self._broadcast_group({name: arrays[name] for name in names})

    def _agreed_on(self, arrays: Dict[str, mx.nd.NDArray]) -> Dict[str, mx.nd.NDArray]:
        """The arrays, if all ranks have the same ones; otherwise CollectiveError on every rank. Compared only once."""
        described = describe(arrays)
        if described not in self._agreed:
            self._compare(described)
            self._agreed.add(described)
        return {name: array.as_nd_ndarray() for name, array in arrays.items()}  # not of mx.np

    def _compare(self, described: Described) -> None:
        digest = np.frombuffer(hashlib.sha256(repr(described).encode()).digest()[:8], np.int64)
        with self.waiting("the names of the arrays of all ranks"):
            # Not through MPI: if only some ranks come here, the others may be gathering labels there.
            digests = self._hvd.allgather(mx.nd.array(digest, ctx=mx.cpu(), dtype="int64"), name="arrays").asnumpy()
        if len(set(digests.tolist())) > 1:
            compare("the array by the name", {name: f"{dtype} {shape}" for name, shape, dtype in described}, self)
            compare("the name", {f"array {i}": name for i, (name, *_) in enumerate(described)}, self)

    def _broadcast_group(self, arrays: Dict[str, mx.nd.NDArray]) -> None:
        # By an all-gather to which the other ranks add one number each: Horovod 0.28 may crash in a broadcast, since it
        # logs the name after queueing the operation, when another thread may have finished it and freed the name.
        flat = [self._reachable(array).reshape((-1,)) for array in arrays.values()]
        own = mx.nd.concat(*flat, dim=0) if self.rank == 0 else flat[0][:1]
        with self.waiting("the values of rank 0"):
            received = self._hvd.allgather(own, name=next(iter(arrays)))
        start = 0
        for array in arrays.values():
            received[start : start + array.size].reshape(array.shape).copyto(array)
            start += array.size

    def _reachable(self, array: mx.nd.NDArray) -> mx.nd.NDArray:
        """The array, `plain`; a copy in host memory where Horovod was built without CUDA and cannot read a GPU's."""
        array = plain(array)
        return array if self._hvd.cuda_built() else array.as_in_context(mx.cpu())

    def _count(self, array: Any, times: int) -> None:
        """Count the bytes of an array that goes around the ring `times` times, without the part that stays."""
        size = array.size * np.dtype(array.dtype).itemsize
        self.bytes_sent += times * size * (self.world_size - 1) // self.world_size

    def all_gather_host(self, array: np.ndarray) -> np.ndarray:
        self._count(array, self.world_size)
        with self.waiting("the labels of all ranks"):
            if self._mpi is None:
                dtype = array.dtype.name
                array = mx.nd.array(array, ctx=mx.cpu(), dtype=dtype)
                return self._hvd.allgather(array, name="host_" + dtype).asnumpy()
            gathered = np.empty((self.world_size,) + array.shape, array.dtype)
            self._mpi.Allgather(np.ascontiguousarray(array), gathered)
            return gathered.reshape((-1,) + array.shape[1:])

    def all_gather_object(self, value: Any) -> List[Any]:
        if self._mpi is not None:
            with self.waiting("a message of all ranks"):
                return self._mpi.allgather(value)
        encoded = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = self.all_gather_host(np.array([len(encoded)], np.int64))
        padded = np.zeros(lengths.max(), np.uint8)
        padded[: len(encoded)] = encoded
        rows = self.all_gather_host(padded).reshape(self.world_size, -1)
        return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths)]


class WatchedCommunicator(HorovodCommunicator):
    """The same, with a Watch to which this rank reports what it does and waits for."""

    def __init__(self, hvd: Any, watch: Watch) -> None:
        self._watch = watch
        super().__init__(hvd)

    def doing(self, what: str) -> None:
        self._watch.doing(what)

    def waiting(self, what: str) -> ContextManager[None]:
        return self._watch.waiting(what)

    def busy(self, what: str, seconds: float) -> ContextManager[None]:
        return self._watch.busy(what, seconds)

    def fail(self, text: str, status: int) -> None:
        self._watch.fail(text, status)

    def at_end(self, function: Callable[[], None]) -> None:
        self._watch.at_end(function)


def _copy_back(group: Dict[str, mx.nd.NDArray], arrays: Dict[str, mx.nd.NDArray]) -> None:
    """Copy arrays that were exchanged in host memory to where they came from."""
    for name, array in group.items():
        if array is not arrays[name]:
            array.copyto(arrays[name])


def _duplicate_world() -> Any:
    """A duplicate of MPI's world; Horovod has initialized MPI with MPI_THREAD_MULTIPLE before."""
    from mpi4py import MPI

    return MPI.COMM_WORLD.Dup()
