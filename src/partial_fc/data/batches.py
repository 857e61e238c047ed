"""Batches of images for each rank, decoded ahead of time by worker threads."""

import logging
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .augmentation import Augmentation
from .epoch_order import EpochOrder
from .images.decoders import image_memory
from .images.decoding import decode_into
from .parallel import ordered_map
from .records.bad_records import BadRecords
from .records.identity_ranges import empty_identities, identities_in_runs, runs_text

log = logging.getLogger("partial_fc")


class Batch(NamedTuple):
    """`images`: (b, H, W, 3) uint8 RGB; `labels`: (b,) int64; `records`: (b,) int64 record numbers.

    `end`: position at which the next global batch begins. Positions count images, those of all ranks and of all epochs
    before, which a last batch has left out among them: what comes after one is the same for any number of ranks.
    """

    images: np.ndarray
    labels: np.ndarray
    records: np.ndarray
    end: int = 0


class BatchReader:
    """This rank's slice of every global batch, augmented.

    The order of an epoch depends on (seed, epoch), what is done to an image on (seed, epoch, image): neither on the
    number of ranks or workers, nor on what was read before. A bad record that is skipped is replaced by the next one
    in the epoch's order.

    Threads are enough: they decode outside of Python's lock. Each makes whole batches, straight into their memory.

    Args:
        records: RecordFile.
        image_size: height and width of the images.
        batch_size: images a rank.
        comm: communicator, or anything with `rank` and `world_size`.
        seed: of order and augmentation.
        num_workers: decoding threads; two more batches than these are ready or in the making.
        augmentation: Augmentation; None: flips.
        last_batch: `drop` leaves out, in each epoch, the images that do not fill its last global batch; `pad` fills
            that up with the epoch's first ones.
        num_classes: labels from this on are bad; None: whoever uses the labels sees to that.
        on_bad_record: `error` or `skip`, see BadRecords.
        bad_record_share: of the images, that may be skipped; each rank counts those that it met.

    Attributes:
        updates_per_epoch: global batches in an epoch.
        global_batch_size: images of all ranks in an update.

    Raises:
        InputError: fewer images than a global batch holds, and they are to be dropped.
    """

    def __init__(
        self,
        records,
        image_size,
        batch_size,
        comm,
        seed=0,
        num_workers=2,
        augmentation=None,
        last_batch="drop",
        num_classes=None,
        on_bad_record="error",
        bad_record_share=0.001,
    ):
        self.global_batch_size, count = batch_size * comm.world_size, len(records.keys)
        self._drops = last_batch == "drop"
        padding = 0 if self._drops else self.global_batch_size - 1
        self.updates_per_epoch = (count + padding) // self.global_batch_size
        if not self.updates_per_epoch:
            raise InputError(
                f"{records.path}: {count} images do not fill a global batch of {comm.world_size} x {batch_size}: use a "
                "smaller --batch-size, fewer ranks, or --set last_batch=pad"
            )
        self.records, self.size, self.seed = records, (image_size, image_size), seed
        self.batch_size, self.rank, self.num_workers = batch_size, comm.rank, num_workers
        self.num_classes, self.augmentation = num_classes, augmentation or Augmentation()
        self.bad_records = BadRecords(on_bad_record, bad_record_share, count)
        self._order = EpochOrder(count, seed)
        if comm.rank == 0:
            _tell_empty(records)

    def batches(self, position=0):
        """The batches from a position on, see Batch, without end; what lies before it is not read.

        Raises:
            InputError: naming file and record, if an image cannot be read.
        """
        read = ordered_map(self._read, self._positions(position), self.num_workers, self.num_workers + 2)
        try:
            for batch, bad in read:
                self.bad_records.add(bad)
                yield batch
        finally:
            read.close()
            self.bad_records.log_count()

    def _positions(self, position):
        while True:
            yield position
            position = self._place(position)[-1]

    def _place(self, position):
        """Epoch of the batch at a position, where in the epoch it begins, and the position of the batch after it."""
        count = len(self.records.keys)
        epoch, start = divmod(position, count)
        if start + self.global_batch_size > count and self._drops:
            epoch, start = epoch + 1, 0
        return epoch, start, epoch * count + min(start + self.global_batch_size, count)

    def read(self, position):
        """The Batch at a position."""
        batch, bad = self._read(position)
        self.bad_records.add(bad)
        return batch

    def _read(self, position):
        """The Batch at a position, and errors by number of the bad records met."""
        epoch, start, end = self._place(position)
        if 2 * start >= len(self.records.keys):
            self._order.prepare(epoch + 1)
        start += self.rank * self.batch_size
        batch, bad = (
            Batch(
                image_memory(self.batch_size, *self.size, 3),
                np.empty(self.batch_size, np.int64),
                self._keys(epoch, np.arange(start, start + self.batch_size)),
                end,
            ),
            {},
        )
        numbers = self.augmentation.draw(self.seed, epoch, batch.records)
        for index, (key, image) in enumerate(zip(batch.records.tolist(), batch.images)):
            try:
                batch.labels[index] = self._read_image(key, image)
            except InputError as error:
                self.bad_records.collect(key, error, bad)
                self._replace(batch, index, epoch, start + index, bad)
                (numbers[index],) = self.augmentation.draw(self.seed, epoch, batch.records[index : index + 1])
            self.augmentation.apply(image, numbers[index])
        return batch, bad

    def _replace(self, batch, index, epoch, place, bad):
        """Put the next image that can be read in the place of one that cannot."""
        for further in range(place + 1, place + len(self.records.keys)):
            batch.records[index] = self._keys(epoch, further)
            try:
                batch.labels[index] = self._read_image(batch.records[index], batch.images[index])
                return
            except InputError as error:
                self.bad_records.collect(int(batch.records[index]), error, bad)
        raise InputError(f"{self.records.path}: not one record can be read")

    def _keys(self, epoch, places):
        """Record numbers at places of an epoch's order, which begins again after its end."""
        order = self._order.of(epoch)
        return self.records.keys[order[places % len(order)]]

    def _read_image(self, key, out):
        """Decode record `key` into `out`; returns its label."""
        encoded, label = self.records.read(key)
        if self.num_classes is not None and label >= self.num_classes:
            raise InputError(
                f"{self.records.path}: record {key} has label {label}, outside [0, {self.num_classes}): mend the "
                "records, or set num_classes to the number of identities"
            )
        try:
            decode_into(out, encoded)
        except ValueError as error:  # named here: at 30,000 images a second a name for each would count
            raise InputError(f"{self.records.path}: record {key}: {error}") from error
        return label


def _tell_empty(records):
    empty = empty_identities(records)
    if len(empty):
        log.warning(
            "%s: %d of %d identities have no images, %d is the first: no image will ever be like their centers",
            records.path,
            len(empty),
            records.num_identities,
            empty[0],
        )
    found = identities_in_runs(records)
    if found:
        log.warning("%s: %s", records.path, runs_text(records, found))
