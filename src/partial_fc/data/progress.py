"""How far a long piece of work is."""

import contextlib
import logging
import time

from tqdm import tqdm

log = logging.getLogger("partial_fc")

_SECONDS_BETWEEN_LINES = 10


def progress(things, unit, total=None):
    """The things one by one, with a bar on a terminal and a line now and then elsewhere.

    Args:
        things: iterable.
        unit: what they are, in the plural.
        total: how many; by default their `len`.
    """
    total = len(things) if total is None else total
    start = time.monotonic()
    with tqdm(things, unit=f" {unit}", total=total, disable=None, leave=False) as bar:
        due = _timer(bar)
        for number, thing in enumerate(bar):
            if due():
                left = (total - number) * (time.monotonic() - start) / max(number, 1)
                log.info("%d of %d %s, %.0f s left", number, total, unit, left)
            yield thing


@contextlib.contextmanager
def byte_progress(total, what):
    """The same over bytes: gives a function, to be called with the number of bytes of each step.

    Args:
        total: bytes.
        what: is done with them.
    """
    done = 0
    with tqdm(total=total, unit="B", unit_scale=True, desc=what, disable=None, leave=False) as bar:
        due = _timer(bar)

        def advance(count):
            nonlocal done
            done += count
            bar.update(count)
            if due():
                log.info("%s: %.1f of %.1f GB", what, done / 1e9, total / 1e9)

        yield advance


def _timer(bar):
    """Function that says whether it is time for a line: there is no bar, and the line before is some seconds old."""
    told = time.monotonic()

    def due():
        nonlocal told
        now = time.monotonic()
        if not bar.disable or now - told < _SECONDS_BETWEEN_LINES:
            return False
        told = now
        return True

    return due
