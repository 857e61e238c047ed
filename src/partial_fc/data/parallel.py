"""Work in threads, with results in order."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor


def ordered_map(function, things, num_workers, ahead=None):
    """Results of `function` for each thing, in the order of the things, which may be endless.

    Threads suit what waits for disks, or works in libraries that let go of Python's lock, as decoders of images do. An
    error comes in its thing's place, and ends the rest.

    Args:
        function: of one thing.
        things: iterable.
        num_workers: threads.
        ahead: things at work or waiting to be taken; by default 4 a worker, which smoothes those that take long.
    """
    ahead = ahead or 4 * num_workers
    things = iter(things)
    with ThreadPoolExecutor(num_workers) as workers:
        pending = deque()
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
