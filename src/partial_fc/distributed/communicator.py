"""A world of one rank, which has nothing to exchange: the interface of every communicator."""

import contextlib

from ..errors import WRONG_INPUT, CollectiveError, InputError, exit_status
from .exchange import describe


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
        """Sum over the ranks, in place, of every NDArray of a dictionary by name. Does not wait for the sums.

        Raises:
            InputError: not dense NDArrays by name, of numbers that can be added.
            CollectiveError: on every rank, if ranks have others, of another shape, dtype or order.
        """
        describe(arrays)

    def broadcast(self, arrays):
        """Copy rank 0's values, in place, into every NDArray of a dictionary by name; raises as `all_reduce`."""
        describe(arrays)

    def all_gather_host(self, array):
        """(n,) int64 NumPy arrays of all ranks, (world_size * n,) in rank order."""
        return array

    def all_gather_object(self, value):
        """List of one value a rank; a value is whatever JSON can hold."""
        return [value]

    def doing(self, what):
        """Report what this rank does now, such as `update 7`, for the message of a failure."""

    def waiting(self, what):
        """Context in which this rank waits for `what`; one that lasts too long ends the run."""
        return contextlib.nullcontext()

    def busy(self, what, seconds):
        """Context in which this rank does `what`, for which it may keep others waiting for so long."""
        return contextlib.nullcontext()

    def fail(self, text, status):
        """Report an error (str) of this rank to all; all end, with that exit status, and do not return from here."""

    def at_end(self, function):
        """Have a function without arguments called, in any thread, before another rank's failure ends this process."""

    def agree(self, problem, status=WRONG_INPUT):
        """Raise CollectiveError on every rank if any rank has a problem (str); all continue if all pass None.

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
            raise CollectiveError(text, WRONG_INPUT if WRONG_INPUT in statuses else max(statuses))

    @contextlib.contextmanager
    def raise_on_all_ranks(self):
        """An InputError or OSError of any rank in the block is raised on all ranks, as CollectiveError, at its end.

        Its exit status is that of its cause.

        No collective may stand in the block: ranks leave it at different points.
        """
        problem, status = None, WRONG_INPUT
        try:
            yield
        except (InputError, OSError) as error:
            problem, status = str(error), exit_status(error)
        self.agree(problem, status)
