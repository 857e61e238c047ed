"""How fast a run's images are read, without training: `--io-only`."""

import contextlib
import logging
import time

log = logging.getLogger("partial_fc")

_SECONDS, _SECONDS_BETWEEN_LINES = 20, 5


def measure_input(reader, comm, seconds=_SECONDS):
    """Read batches for some seconds on every rank, each for itself, and log the rates.

    Args:
        reader: of batches, with `batches()` and `batch_size`.
        comm: communicator.
        seconds: to read for; the batch begun before is finished.

    Returns:
        Images a second of each rank.

    Raises:
        AgreedError: on every rank, for a record that cannot be used on any of them.
    """
    with comm.together():
        rate = _read(reader, seconds)
    rates = comm.all_gather_object(rate)
    log.info(
        "input alone: %.0f images/s in all, %.0f to %.0f a rank (%d ranks)",
        sum(rates), min(rates), max(rates), comm.world_size,
    )
    return rates


def _read(reader, seconds):
    with contextlib.closing(reader.batches()) as batches:
        next(batches)  # starts the threads
        start = told = now = time.perf_counter()
        images = 0
        while not images or now - start < seconds:
            next(batches)
            images += reader.batch_size
            now = time.perf_counter()
            if now - told >= _SECONDS_BETWEEN_LINES:
                told = now
                log.info("input alone: %.0f images/s, %.0f of %d s", images / (now - start), now - start, seconds)
        return images / (now - start)
