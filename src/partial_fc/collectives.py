"""What ranks exchange. The only file that knows Horovod and mpi4py.

Every collective carries a fixed name: for a name it has seen, Horovod keeps the plan, and the ranks need not agree anew
(but for reduce-scatters, which Horovod 0.28 negotiates each time).
"""

import contextlib
import json
import os

import mxnet as mx
import numpy as np

from .errors import WRONG_INPUT, AgreedError, InputError, exit_status
from .hosts import check_gloo
from .watch import Watch

# Large enough to use the network well, small enough that the first sums run beside the rest of the backward pass, and
# that copies take little memory.
_GROUP_BYTES = 2**25


class Communicator:
    """A world of one rank: nothing to exchange. Also the interface of every other communicator.

    Attributes:
        rank, world_size: among all ranks.
        local_rank, local_size: among those of this host.
        bytes_sent: by this rank so far, counted for rings: once around for what is gathered or reduced and scattered,
            twice for what is reduced for all.
        transport: name of what carries data of the host.
    """

    bytes_sent = 0
    transport = "none"
    rank = 0
    local_rank = 0
    local_size = 1
    world_size = 1

    def all_gather(self, array, name):
        """(n, ...) NDArrays of all ranks, (world_size * n, ...) in rank order."""
        return array

    def reduce_scatter(self, array, name):
        """Sum over the ranks of (world_size * n, ...) NDArrays; this rank's n rows of it."""
        return array

    def all_reduce(self, arrays):
        """Sum over the ranks, in place, of every NDArray of a dictionary by name. Does not wait."""

    def broadcast(self, arrays):
        """Copy rank 0's values, in place, into every NDArray of a dictionary by name."""

    def all_gather_host(self, array):
        """(n,) int64 NumPy arrays of all ranks, (world_size * n,) in rank order."""
        return array

    def all_gather_object(self, value):
        """List of one value a rank; a value is whatever JSON can hold."""
        return [value]

    def doing(self, what):
        """Tell what this rank does now, such as `update 7`, for the message of a failure."""

    def waiting(self, what):
        """Context in which this rank waits for `what`; one that lasts too long ends the run."""
        return contextlib.nullcontext()

    def busy(self, what, seconds):
        """Context in which this rank does `what`, for which it may keep others waiting for so long."""
        return contextlib.nullcontext()

    def fail(self, text, status):
        """Tell all ranks of an error (str) of this one; all end, with that exit status, and do not return from here."""

    def at_end(self, function):
        """Have a function without arguments called, in any thread, before another rank's failure ends this process."""

    def agree(self, problem, status=WRONG_INPUT):
        """Raise AgreedError on every rank if any rank has a problem (str); go on if all pass None.

        Args:
            status: exit status of a run that this rank's problem ends. Of several, WRONG_INPUT counts: the same run
                would fail again.
        """
        pairs = self.all_gather_object([problem, status])
        problems = [problem for problem, _ in pairs]
        found = [f"rank {rank}: {problem}" for rank, problem in enumerate(problems) if problem]
        if found:
            statuses = {status for problem, status in pairs if problem}
            text = problems[0] if len(set(problems)) == 1 else "\n".join(found)
            raise AgreedError(text, WRONG_INPUT if WRONG_INPUT in statuses else max(statuses))

    @contextlib.contextmanager
    def together(self):
        """An InputError or OSError of any rank within the block is raised by all of them, as AgreedError, at its end.

        Its exit status is that of its cause.

        No collective may stand in the block: ranks leave it at different points.
        """
        problem, status = None, WRONG_INPUT
        try:
            yield
        except (InputError, OSError) as error:
            problem, status = str(error), exit_status(error)
        self.agree(problem, status)


def connect(stalls=True):
    """Join the ranks that horovodrun or mpirun started; alone, a world of one rank.

    From now on the failure of one rank ends all, see `watch`.

    Args:
        stalls: whether a rank that keeps others waiting for too long is a failure.

    Returns:
        HorovodCommunicator; alone, Communicator.

    Raises:
        InputError: Gloo connects the ranks, and cannot on this host.
    """
    import horovod.mxnet as hvd

    if os.environ.get("HOROVOD_CONTROLLER") == "gloo" or not hvd.mpi_built():
        check_gloo()
    watch = Watch(stalls)
    with watch.joining():
        hvd.init()
        if hvd.size() == 1:
            return Communicator()
        comm = HorovodCommunicator(hvd, watch)
        if comm.transport == "Gloo":
            comm.warm_up()
        meeting = comm.all_gather_object(None if comm.rank else watch.open())[0]
    watch.join(comm.rank, meeting)
    return comm


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
        for priority, names in enumerate(_groups(arrays)):
            group = {name: self._reachable(arrays[name]) for name in names}
            for array in group.values():
                self._count(array, 2)
            self._hvd.grouped_allreduce_(list(group.values()), op=self._hvd.Sum, name=names[0], priority=-priority)
            _copy_back(group, arrays)

    def broadcast(self, arrays):
        for names in _groups(arrays):
            self._broadcast_group({name: arrays[name] for name in names})

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
        """The array itself, or its copy in host memory where Horovod was built without CUDA and cannot read a GPU's."""
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


def _groups(arrays):
    """Names of the arrays in groups of about `_GROUP_BYTES`.

    The order in which a sum over three or more ranks is taken depends on where in a message a number stands. Horovod
    puts together what happens to be ready, unless it is told what belongs together: with groups, the same run gives the
    same bits.
    """
    group, size = [], 0
    for name, array in arrays.items():
        group.append(name)
        size += 4 * array.size
        if size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _copy_back(group, arrays):
    """Copy what was exchanged in host memory to where it came from."""
    for name, array in group.items():
        if array is not arrays[name]:
            array.copyto(arrays[name])


def _duplicate_world():
    """MPI's world, duplicated; Horovod has initialised MPI with MPI_THREAD_MULTIPLE before."""
    from mpi4py import MPI

    return MPI.COMM_WORLD.Dup()
