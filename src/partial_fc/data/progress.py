"""Progress of long work: a bar on a terminal, or else a log line every 10 seconds."""

import contextlib
import logging
import time
from typing import Any, Callable, ContextManager, Iterable, Iterator, Optional, Sized, TypeVar, cast

from tqdm import tqdm

log = logging.getLogger("partial_fc")

_SECONDS_BETWEEN_LINES = 10

T = TypeVar("T")
Progress = Callable[[Iterable[Any]], Iterable[Any]]
"""Wraps an iteration, to show how far it is; `iter` shows nothing."""
Advance = Callable[[int], None]
"""Called with the number of bytes of each step."""
ByteProgress = Callable[[int, str], ContextManager[Advance]]
"""Called with a total number of bytes and what is done with them: a context that gives an `Advance`."""


def progress(things: Iterable[T], unit: str, total: Optional[int] = None) -> Iterator[T]:
    """Yield the things one by one, and show how many are done.

    Args:
        things: to go through.
        unit: what they are, in the plural.
        total: how many; by default their `len`.
    """
    total = len(cast(Sized, things)) if total is None else total
    start = time.monotonic()
    with tqdm(things, unit=f" {unit}", total=total, disable=None, leave=False) as bar:
        due = _timer(bar)
        for number, thing in enumerate(bar):
            if due():
                left = (total - number) * (time.monotonic() - start) / max(number, 1)
                log.info("%d of %d %s, %.0f s left", number, total, unit, left)
            yield thing


@contextlib.contextmanager
def byte_progress(total: int, what: str) -> Iterator[Advance]:
    """Context that shows how many of `total` bytes are done; a `ByteProgress`.

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
    """Function that returns whether a log line is due: there is no bar, and the last line is some seconds old."""
    last = time.monotonic()

    def due():
        nonlocal last
        now = time.monotonic()
        if not bar.disable or now - last < _SECONDS_BETWEEN_LINES:
            return False
        last = now
        return True

    return due
