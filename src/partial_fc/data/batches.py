"""Batches of images for each rank, decoded ahead of time by worker threads."""

import logging
from typing import Any, Dict, Generator, NamedTuple, Optional

import numpy as np

from ..errors import InputError
from .augmentation import Augmentation
from .epoch_order import EpochOrder
from .images.decoders import image_memory
from .images.decoding import decode_into
from .parallel import ordered_map
from .records.bad_records import BadRecords
from .records.identity_ranges import empty_identities, identities_in_runs, runs_text
from .records.record_file import RecordFile

log = logging.getLogger("partial_fc")


class Batch(NamedTuple):
    """A batch of one rank.

    Attributes:
        images: (b, H, W, 3) uint8 RGB.
        labels: (b,) int64.
        records: record numbers, (b,) int64.
        end: position of the next global batch. A position is the number of images before it, of all ranks and epochs,
            also those that a last batch has dropped: so what follows does not depend on the number of ranks.
    """

    images: np.ndarray
    labels: np.ndarray
    records: np.ndarray
    end: int = 0


class BatchReader:
    """This rank's slice of every global batch, augmented.

    The order of an epoch is a function of (seed, epoch), the augmentation of an image of (seed, epoch, image): neither
    depends on the number of ranks or threads, nor on what was read before. A bad record that is skipped is replaced by
    the next one in the order of the epoch.

    Threads suffice: they decode outside of Python's lock. Each makes whole batches, decoding into their memory.

    Args:
        records: the record file.
        image_size: height and width of the images, in pixels.
        batch_size: images per rank.
        comm: communicator, or anything with `rank` and `world_size`.
        seed: of order and augmentation.
        num_workers: decoding threads; up to two more batches are decoded ahead or in work.
        augmentation: what may be done to images; None: flips.
        last_batch: `drop` skips, in each epoch, the images that do not fill its last global batch; `pad` fills that
            batch with the first images of the epoch.
        num_classes: labels must be less than this; None: labels are not checked here.
        on_bad_record: `error` or `skip`, see BadRecords.
        bad_record_share: maximum share of bad records to skip before failing; each rank counts its own.

    Attributes:
        updates_per_epoch: global batches in an epoch.
        global_batch_size: images of all ranks in an update.

    Raises:
        InputError: there are fewer images than in a global batch, and `last_batch` is `drop`.
    """

    def __init__(
        self,
        records: RecordFile,
        image_size: int,
        batch_size: int,
        comm: Any,
        seed: int = 0,
        num_workers: int = 2,
        augmentation: Optional[Augmentation] = None,
        last_batch: str = "drop",
        num_classes: Optional[int] = None,
        on_bad_record: str = "error",
        bad_record_share: float = 0.001,
    ) -> None:
        self.global_batch_size, count = batch_size * comm.world_size, len(records.keys)
        self._drops = last_batch == "drop"
        padding = 0 if self._drops else self.global_batch_size - 1
        self.updates_per_epoch = (count + padding) // self.global_batch_size
        if not self.updates_per_epoch:
            raise InputError(
                f"{records.path}: {count} images do not fill a global batch of {comm.world_size} x {batch_size}: use a "
                "smaller --batch-size or accumulate, fewer ranks, or --set last_batch=pad"
            )
        self.records, self.size, self.seed = records, (image_size, image_size), seed
        self.batch_size, self.rank, self.num_workers = batch_size, comm.rank, num_workers
        self.num_classes, self.augmentation = num_classes, augmentation or Augmentation()
        self.bad_records = BadRecords(on_bad_record, bad_record_share, count)
        self._order = EpochOrder(count, seed)
        if comm.rank == 0:
            _warn_of_ranges(records)

    def batches(self, position: int = 0) -> Generator[Batch, None, None]:
        """Yield the batches from a position on, endlessly; nothing before the position is read.

        Raises:
            InputError: an image cannot be read; the message names file and record.
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
        """Epoch of the batch at a position, its start within the epoch, and the position of the next batch."""
        count = len(self.records.keys)
        epoch, start = divmod(position, count)
        if start + self.global_batch_size > count and self._drops:
            epoch, start = epoch + 1, 0
        return epoch, start, epoch * count + min(start + self.global_batch_size, count)

    def read(self, position: int) -> Batch:
        """The batch at a position."""
        batch, bad = self._read(position)
        self.bad_records.add(bad)
        return batch

    def _read(self, position):
        """The batch at a position, and the errors of the bad records found, by record number."""
        epoch, start, end = self._place(position)
        if 2 * start >= len(self.records.keys):
            self._order.prepare(epoch + 1)
        start += self.rank * self.batch_size
        bad: Dict[int, InputError] = {}
        batch = Batch(
            image_memory(self.batch_size, *self.size, 3),
            np.empty(self.batch_size, np.int64),
            self._keys(epoch, np.arange(start, start + self.batch_size)),
            end,
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
        """Replace an image that cannot be read by the next one that can."""
        for further in range(place + 1, place + len(self.records.keys)):
            batch.records[index] = self._keys(epoch, further)
            try:
                batch.labels[index] = self._read_image(batch.records[index], batch.images[index])
                return
            except InputError as error:
                self.bad_records.collect(int(batch.records[index]), error, bad)
        raise InputError(f"{self.records.path}: none of its records can be read")

    def _keys(self, epoch, places):
        """Record numbers at places in the order of an epoch, which repeats after its end."""
        order = self._order.of(epoch)
        return self.records.keys[order[places % len(order)]]

    def _read_image(self, key, out):
        """Decode record `key` into `out`; returns its label."""
        encoded, label = self.records.read(key)
        if self.num_classes is not None and label >= self.num_classes:
            raise InputError(
                f"{self.records.path}: record {key} has label {label}, outside [0, {self.num_classes}): correct the "
                "records, or set num_classes to the number of identities"
            )
        try:
            decode_into(out, encoded)
        except ValueError as error:  # named here: making a name for each of 30,000 images per second takes time
            raise InputError(f"{self.records.path}: record {key}: {error}") from error
        return label


def _warn_of_ranges(records):
    """Log a warning of identities without images, and of identities with several ranges."""
    empty = empty_identities(records)
    if len(empty):
        log.warning(
            "%s: %d of %d identities have no images, the first is %d: their centers are trained as negatives only",
            records.path,
            len(empty),
            records.num_identities,
            empty[0],
        )
    found = identities_in_runs(records)
    if found:
        log.warning("%s: %s", records.path, runs_text(records, found))
