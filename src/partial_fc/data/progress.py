"""How far a long piece of work is."""

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
    start = told = time.monotonic()
    with tqdm(things, unit=f" {unit}", total=total, disable=None, leave=False) as bar:
        for number, thing in enumerate(bar):
            now = time.monotonic()
            if bar.disable and now - told >= _SECONDS_BETWEEN_LINES:
                told = now
                left = (total - number) * (now - start) / max(number, 1)
                log.info("%d of %d %s, %.0f s left", number, total, unit, left)
            yield thing
