"""Work in threads, with results in order."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Deque, Generator, Iterable, Optional, TypeVar

T = TypeVar("T")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[T], Result], things: Iterable[T], num_workers: int, ahead: Optional[int] = None
) -> Generator[Result, None, None]:
    """Yield the results of `function` for each thing, in the order of the things, which may be endless.

    Threads suit work that waits for disks, or is done in libraries that release Python's lock, such as decoders of
    images. An exception is raised in place of the thing's result, and ends the work.

    Args:
        function: of one thing.
        things: to work on.
        num_workers: threads.
        ahead: things in work or finished and not yet yielded; by default 4 per thread, so that one slow thing does not
            stop the others.
    """
    ahead = ahead or 4 * num_workers
    with ThreadPoolExecutor(num_workers) as workers:
        pending: Deque[Future[Result]] = deque()
        try:
            for thing in things:
                pending.append(workers.submit(function, thing))
                if len(pending) == ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for waiting in pending:
                waiting.cancel()
