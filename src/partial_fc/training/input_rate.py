"""How fast a run's images are read, without training: `--io-only`."""

import contextlib
import logging
import time
from typing import Iterator, List, Tuple

from ..data.batches import Batch
from ..data.open import Reader
from ..distributed.communicator import Communicator

log = logging.getLogger("partial_fc")

_SECONDS, _SECONDS_BETWEEN_LINES = 20, 5


def measure_input(reader: Reader, comm: Communicator, seconds: float = _SECONDS) -> List[float]:
    """Read batches for some seconds on every rank, each at its own pace, and log the images per second.

    Args:
        seconds: to read for, with a line of the log every 5 seconds; a batch that was begun is finished.

    Returns:
        Images per second of each rank.

    Raises:
        CollectiveError: on every rank, for a record that cannot be used on any of them.
    """
    images, read = 0, 0.0
    with contextlib.closing(reader.batches()) as batches:
        with comm.raise_on_all_ranks():
            next(batches)  # starts the threads
        for end in _ends(seconds):
            with comm.raise_on_all_ranks():
                more, took = _read(batches, reader.batch_size, seconds=end - read)
                images, read = images + more, read + took
            rates = comm.all_gather_object(images / read)
            log.info(
                "input alone, %.0f of %.0f s: %.0f images/s on all %d ranks together, %.0f to %.0f per rank",
                end,
                seconds,
                sum(rates),
                comm.world_size,
                min(rates),
                max(rates),
            )
    return rates


def _ends(seconds: float) -> List[float]:
    """Seconds at which a line of the log is due."""
    count = max(1, round(seconds / _SECONDS_BETWEEN_LINES))
    return [seconds * (part + 1) / count for part in range(count)]


def _read(batches: Iterator[Batch], batch_size: int, seconds: float) -> Tuple[int, float]:
    """Read at least one batch; returns images read and seconds taken."""
    start, images = time.perf_counter(), 0
    while not images or time.perf_counter() - start < seconds:
        next(batches)
        images += batch_size
    return images, time.perf_counter() - start
