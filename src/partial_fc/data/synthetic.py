"""Batches of noise with random labels, to measure computing without reading data."""

import itertools
from typing import Any, Generator

import numpy as np

from ..errors import InputError
from ..randomness import generator
from .batches import Batch
from .records.bad_records import BadRecords


class SyntheticBatches:
    """This rank's slice of global batches of noise, labels drawn uniformly from all classes.

    The images are the same in every update, so that they take no time; the labels are a function of (seed, position).

    Args:
        num_classes: number of identities.
        image_size: height and width of the images, in pixels.
        batch_size: images per rank.
        comm: communicator, or anything with `rank` and `world_size`.
        seed: of images and labels.

    Attributes:
        bad_records: none, as there are no records.

    Raises:
        InputError: no identities.
    """

    def __init__(self, num_classes: int, image_size: int, batch_size: int, comm: Any, seed: int = 0) -> None:
        if num_classes < 1:
            raise InputError(f"num_classes={num_classes}: synthetic images list no identities: --set num_classes=N")
        self.num_classes, self.seed, self.rank, self.batch_size = num_classes, seed, comm.rank, batch_size
        self.global_batch_size, self.bad_records = batch_size * comm.world_size, BadRecords()
        shape = (batch_size, image_size, image_size, 3)
        self.images = generator(seed, "noise", comm.rank).integers(0, 256, shape, dtype="uint8")

    def batches(self, position: int = 0) -> Generator[Batch, None, None]:
        """Yield the batches from a position on, endlessly."""
        yield from map(self.read, itertools.count(position, self.global_batch_size))

    def read(self, position: int) -> Batch:
        """The batch at a position; its record numbers are the places in the global batch."""
        labels = generator(self.seed, "labels", position).integers(0, self.num_classes, self.global_batch_size)
        own = slice(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)
        return Batch(self.images, labels[own], np.arange(own.start, own.stop), position + self.global_batch_size)
