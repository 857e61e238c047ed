"""The random order of the images in each epoch."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..randomness import generator

_KEPT = 2  # workers may be at work on either side of an epoch's end


class EpochOrder:
    """Places of `count` images by epoch, a function of (seed, epoch). Threads may ask at the same time.

    An order takes 4 bytes an image, and a second for 17 million images: each is drawn once, by a thread that other
    work need not wait for, and two are kept.
    """

    def __init__(self, count, seed):
        self._count, self._seed = count, seed
        self._lock, self._thread = threading.Lock(), ThreadPoolExecutor(1)
        self._drawn = {}  # future by epoch

    def of(self, epoch):
        """Places of the images of an epoch, (count,); uint32 where that is enough, to save memory."""
        return self.prepare(epoch).result()

    def prepare(self, epoch):
        """Begin to draw an order that will be asked for; returns its future."""
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
