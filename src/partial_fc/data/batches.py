"""Batches of images for each rank, decoded ahead of time by worker threads."""

import functools
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..randomness import generator
from .image import decode_image

_BATCHES_AHEAD = 3


class Batch(NamedTuple):
    """`images`: (b, H, W, 3) uint8 RGB; `labels`: (b,) int64; `records`: (b,) int64 record numbers."""

    images: np.ndarray
    labels: np.ndarray
    records: np.ndarray


class BatchReader:
    """This rank's slice of every global batch, flipped at random.

    The order of an epoch depends on (seed, epoch), a flip on (seed, epoch, image): neither on the number of ranks or
    workers, nor on what was read before. The images that do not fill the last global batch of an epoch are left out.

    Args:
        records: RecordFile.
        image_size: height and width of the images.
        batch_size: images a rank.
        comm: communicator, or anything with `rank` and `world_size`.
        seed: of order and flips.
        num_workers: decoding threads.

    Raises:
        InputError: fewer images than a global batch holds.
    """

    def __init__(self, records, image_size, batch_size, comm, seed=0, num_workers=2):
        global_batch_size = batch_size * comm.world_size
        self.updates_per_epoch = len(records.keys) // global_batch_size
        if not self.updates_per_epoch:
            raise InputError(
                f"{records.path}: {len(records.keys)} images do not fill a global batch of {comm.world_size} x "
                f"{batch_size}: use a smaller --batch-size or fewer ranks"
            )
        self.records, self.size, self.seed = records, (image_size, image_size), seed
        self.batch_size, self.global_batch_size, self.rank = batch_size, global_batch_size, comm.rank
        self.num_workers = num_workers
        self._epoch = functools.lru_cache(maxsize=2)(self._draw_epoch)  # two: workers may be at work on either side

    def batches(self, num_update=0):
        """The batches of update `num_update` and all that follow, without end.

        Raises:
            InputError: naming file and record, if an image cannot be read.
        """
        with ThreadPoolExecutor(self.num_workers) as workers:
            ahead = deque()
            while True:
                while len(ahead) < _BATCHES_AHEAD:
                    ahead.append(workers.submit(self.read, num_update))
                    num_update += 1
                yield ahead.popleft().result()

    def read(self, num_update):
        """The Batch of one update."""
        epoch, position = divmod(num_update, self.updates_per_epoch)
        order, flips = self._epoch(epoch)
        start = position * self.global_batch_size + self.rank * self.batch_size
        chosen = order[start : start + self.batch_size]
        images, labels = zip(*[self._image(index, flips[index]) for index in chosen])
        return Batch(np.stack(images), np.array(labels, dtype=np.int64), self.records.keys[chosen])

    def _draw_epoch(self, epoch):
        """Order of the images, and which of them are flipped, in one epoch: (n,) int64 and (n,) bool."""
        count = len(self.records.keys)
        order = generator(self.seed, "order", epoch).permutation(count)
        return order, generator(self.seed, "flip", epoch).random(count) < 0.5

    def _image(self, index, flip):
        key = self.records.keys[index]
        encoded, label = self.records.read(key)
        image = decode_image(encoded, self.size, f"{self.records.path}: record {key}")
        return (image[:, ::-1] if flip else image), label
