"""The random order of the images in each epoch."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Dict

import numpy as np

from ..randomness import generator

_KEPT = 2  # at the end of an epoch some threads read it and some the next one


class EpochOrder:
    """Random orders of `count` images, each a function of (seed, epoch). Threads may use it at the same time.

    An order takes 4 bytes per image, and a second for 17 million images: each is drawn once, by a thread of its own
    while others continue, and two are kept.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._lock, self._thread = threading.Lock(), ThreadPoolExecutor(1)
        self._drawn: Dict[int, Future[np.ndarray]] = {}  # by epoch

    def of(self, epoch: int) -> np.ndarray:
        """Order of an epoch, a permutation of 0, ..., count - 1; uint32 where that suffices, to save memory."""
        return self.prepare(epoch).result()

    def prepare(self, epoch: int) -> "Future[np.ndarray]":
        """Begin to draw an order that will be used soon; returns its future."""
        with self._lock:
            if epoch not in self._drawn:
                while len(self._drawn) >= _KEPT:
                    del self._drawn[min(self._drawn)]
                self._drawn[epoch] = self._thread.submit(self._draw, epoch)
            return self._drawn[epoch]

    def _draw(self, epoch):
        places = np.arange(self._count, dtype=np.uint32 if self._count < 2**32 else np.int64)
        generator(self._seed, "order", epoch).shuffle(places)
        return places
