"""Images of a data set on their way to another: read in threads, in order, without the bad ones."""

import contextlib
import logging
from typing import NamedTuple

from ...errors import InputError
from ..images.decoding import decode_image
from ..parallel import ordered_map
from ..records.bad_records import BadRecords
from ..records.data_set import DataSet

log = logging.getLogger("partial_fc")


class Reading(NamedTuple):
    """How records are read: in `num_workers` threads; `on_bad_record` and `bad_record_share` are those of BadRecords.

    With `skip`, merge, split and shuffle leave out all that training cannot use: images that cannot be decoded, or are
    of another size, too.
    """

    num_workers: int = 1
    on_bad_record: str = "error"
    bad_record_share: float = 0.001

    def bad_records(self, records):
        """BadRecords for a RecordFile."""
        return BadRecords(self.on_bad_record, self.bad_record_share, len(records.keys))

    @property
    def tolerant(self):
        """Whether to open files of which record 0 cannot be used, see RecordFile."""
        return self.on_bad_record == "skip"


ONE_BY_ONE = Reading()


class CopySource:
    """A data set to copy from.

    Args:
        source: folder or path of a record file.
        reading: Reading.

    Attributes:
        data_set: DataSet.
        records: its RecordFile.
        size: (height, width) of its images.
        bad: BadRecords.

    Raises:
        InputError: a missing or damaged file.
    """

    def __init__(self, source, reading):
        self.data_set = DataSet(source, reading.tolerant)
        self.records, self.size = self.data_set.records, self.data_set.image_size()
        self.bad, self._num_workers = reading.bad_records(self.records), reading.num_workers

    def grouped(self):
        """The images as Grouped; logs how many identities have none. Raises InputError as `DataSet.grouped` does."""
        grouped = self.data_set.grouped(self.bad)
        count = max(self.records.num_identities or 0, int(grouped.labels[-1]) + 1)
        if count > len(grouped.labels):
            log.info(
                "%s: %d of %d identities have no images and are dropped",
                self.records.path,
                count - len(grouped.labels),
                count,
            )
        return grouped

    def names(self, grouped, indices):
        """Names of the identities at `indices` of a Grouped; raises InputError as `DataSet.names_of` does."""
        return self.data_set.names_of(grouped.labels[indices].tolist())

    def identities(self, grouped, indices, names, progress):
        """Yield (index, name, encoded images) of identities, without those of which no image can be read.

        Args:
            grouped: Grouped.
            indices: of the identities in it, int each.
            names: of these.
            progress: wraps the iteration over the identities, to show how far it is.

        Raises:
            InputError: a record that cannot be read, or too many.
        """
        keys = [grouped.keys[grouped.edges[index] : grouped.edges[index + 1]] for index in indices]
        for images, index, name in zip(self.read_in_groups(keys, progress), indices, names):
            if images:
                yield index, name, [image for image, _ in images]
            else:
                log.warning("%s: of identity %s no image can be read: left out", self.records.path, name)

    def read_in_groups(self, groups, progress):
        """Yield lists of (encoded image, label), without the bad ones.

        Args:
            groups: sequence of record numbers, (n,) int64 each.
            progress: wraps the iteration over the groups, to show how far it is.

        Raises:
            InputError: a record that cannot be read, or too many.
        """
        results = ordered_map(self._read_group, groups, self._num_workers)
        with contextlib.closing(results):
            for _, (images, bad) in zip(progress(groups), results):
                self.bad.add(bad)
                yield images
        self.bad.log_count()

    def _read_group(self, keys):
        """List of (image, label), and errors by number of the records that are bad."""
        images, bad = [], {}
        for key in keys.tolist():
            try:
                images.append(self._read(key))
            except InputError as error:
                self.bad.collect(key, error, bad)
        return images, bad

    def _read(self, key):
        image, label = self.records.read(key)
        if self.bad.skips:
            decode_image(image, self.size, f"{self.records.path}: record {key}")
        return image, label
