"""A world of one rank, which has nothing to exchange: the interface of every communicator."""

import contextlib
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional

import mxnet as mx
import numpy as np

from ..errors import WRONG_INPUT, CollectiveError, InputError, exit_status
from .exchange import describe


class Communicator:
    """A world of one rank: nothing to exchange. Also the interface of every other communicator.

    Attributes:
        rank, world_size: number of this rank, and of ranks in all.
        local_rank, local_size: the same on this host.
        bytes_sent: by this rank so far, counted for rings: once around for what is gathered or reduced and scattered,
            twice for what is reduced for all.
        transport: name of what carries host-side data: `MPI`, `Gloo` or `none`.
    """

    bytes_sent: int = 0
    rank: int = 0
    local_rank: int = 0
    local_size: int = 1
    world_size: int = 1

    @property
    def transport(self) -> str:
        """Name of what carries host-side data: `MPI`, `Gloo` or `none`."""
        return "none"

    def all_gather(self, array: mx.nd.NDArray, name: str) -> mx.nd.NDArray:
        """Gather (n, ...) NDArrays of all ranks: (world_size * n, ...) in rank order."""
        return array

    def reduce_scatter(self, array: mx.nd.NDArray, name: str) -> mx.nd.NDArray:
        """Sum (world_size * n, ...) NDArrays over the ranks; returns this rank's n rows of the sum."""
        return array

    def all_reduce(self, arrays: Dict[str, mx.nd.NDArray]) -> None:
        """Sum every NDArray of a dictionary over the ranks, in place. Does not wait for the sums.

        Raises:
            InputError: not dense NDArrays by name, of numbers that can be added.
            CollectiveError: on every rank, if names, shapes, dtypes or their order differ between ranks.
        """
        describe(arrays)

    def broadcast(self, arrays: Dict[str, mx.nd.NDArray]) -> None:
        """Copy rank 0's values, in place, into every NDArray of a dictionary; raises as `all_reduce`."""
        describe(arrays)

    def all_gather_host(self, array: np.ndarray) -> np.ndarray:
        """Gather (n,) int64 NumPy arrays of all ranks: (world_size * n,) in rank order."""
        return array

    def all_gather_object(self, value: Any) -> List[Any]:
        """List of one value per rank; a value is anything that JSON can hold."""
        return [value]

    def doing(self, what: str) -> None:
        """Report what this rank does now, such as `update 7`, for the message of a failure."""

    def waiting(self, what: str) -> ContextManager[None]:
        """Context in which this rank waits for `what`; under a watch, waiting for too long ends the run."""
        return contextlib.nullcontext()

    def busy(self, what: str, seconds: float) -> ContextManager[None]:
        """Context in which this rank does `what` and may keep the others waiting for so many seconds."""
        return contextlib.nullcontext()

    def fail(self, text: str, status: int) -> None:
        """Report an error of this rank. Under a watch, all ranks end with that status and this does not return."""

    def at_end(self, function: Callable[[], None]) -> None:
        """Have a function called, in any thread, before the failure of another rank ends this process."""

    def agree(self, problem: Optional[str], status: int = WRONG_INPUT) -> None:
        """Raise CollectiveError on every rank if any rank has a problem; all continue if all pass None.

        Args:
            problem: of this rank, None for none.
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
    def raise_on_all_ranks(self) -> Iterator[None]:
        """An InputError or OSError of any rank in the block is raised on all ranks, as CollectiveError, at its end.

        The exit status of the CollectiveError is that of its cause. No collective may stand in the block: ranks leave
        it at different points.
        """
        problem, status = None, WRONG_INPUT
        try:
            yield
        except (InputError, OSError) as error:
            problem, status = str(error), exit_status(error)
        self.agree(problem, status)
