"""Reading the images of a data set to copy them: in threads, in order, without the bad records."""

import contextlib
import logging
from typing import Dict, Generator, Iterator, List, NamedTuple, Sequence, Tuple, Union

import numpy as np

from ...errors import InputError
from ..images.decoding import decode_image
from ..parallel import ordered_map
from ..progress import Progress
from ..records.bad_records import BadRecords
from ..records.data_set import DataSet, Grouped
from ..records.record_file import RecordFile
from .identity_lists import read_images

log = logging.getLogger("partial_fc")


class Reading(NamedTuple):
    """How records are read.

    With `skip`, merge, split and shuffle skip all records that training cannot use, also images that cannot be decoded
    or have another size.

    Attributes:
        num_workers: threads.
        on_bad_record: `error` or `skip`, see BadRecords.
        bad_record_share: maximum share of bad records to skip before failing.
        leave_out: paths of lists of images that are not copied, see `read_images`.
    """

    num_workers: int = 1
    on_bad_record: str = "error"
    bad_record_share: float = 0.001
    leave_out: Sequence[str] = ()

    def bad_records(self, records: RecordFile) -> BadRecords:
        """A counter of the bad records of a record file."""
        return BadRecords(self.on_bad_record, self.bad_record_share, len(records.keys))

    @property
    def tolerant(self) -> bool:
        """Whether to open files whose record 0 is unusable, see RecordFile."""
        return self.on_bad_record == "skip"


ONE_BY_ONE = Reading()


class CopySource:
    """A data set to copy from.

    Args:
        source: folder or path of a record file.
        reading: how records are read.

    Attributes:
        data_set: the data set.
        records: its record file.
        size: (height, width) of its images, in pixels.
        bad: counts its bad records.

    Raises:
        InputError: a file is missing or damaged.
    """

    def __init__(self, source: str, reading: Reading) -> None:
        self.data_set = DataSet(source, reading.tolerant)
        self.records, self.size = self.data_set.records, self.data_set.image_size()
        self.bad, self._num_workers = reading.bad_records(self.records), reading.num_workers
        self._left_out = read_images(reading.leave_out, self.records) if reading.leave_out else np.empty(0, np.int64)

    def grouped(self) -> Grouped:
        """The images by identity, see `DataSet.grouped`, but those left out; logs how many identities have none.

        Raises:
            InputError: as `DataSet.grouped`; all images are left out.
        """
        grouped = self.data_set.grouped(self.bad)
        if len(self._left_out):
            grouped = grouped.without(self._left_out)
            if not len(grouped.labels):
                raise InputError(f"{self.records.path}: all of its images are left out")
        count = max(self.records.num_identities or 0, int(grouped.labels[-1]) + 1)
        if count > len(grouped.labels):
            log.info(
                "%s: %d of %d identities have no images and are dropped",
                self.records.path,
                count - len(grouped.labels),
                count,
            )
        return grouped

    def names(self, grouped: Grouped, indices: Sequence[int]) -> List[str]:
        """Names of the identities at `indices` of `grouped`; raises InputError as `DataSet.names_of` does."""
        return self.data_set.names_of(grouped.labels[indices].tolist())

    def identities(
        self, grouped: Grouped, indices: Sequence[int], names: Sequence[str], progress: Progress
    ) -> Iterator[Tuple[int, str, List[bytes]]]:
        """Yield (index, name, encoded images) of identities; those without a readable image are skipped.

        Args:
            grouped: the images by identity.
            indices: of the identities in `grouped`.
            names: of these identities.
            progress: wraps the iteration over the identities.

        Raises:
            InputError: a record cannot be read, or too many cannot.
        """
        keys = [grouped.keys[grouped.edges[index] : grouped.edges[index + 1]] for index in indices]
        for images, index, name in zip(self.read_in_groups(keys, progress), indices, names):
            if images:
                yield index, name, [image for image, _ in images]
            else:
                log.warning("%s: no image of identity %s can be read: skipping it", self.records.path, name)

    def read_in_groups(
        self, groups: Union[Sequence[np.ndarray], np.ndarray], progress: Progress
    ) -> Generator[List[Tuple[bytes, int]], None, None]:
        """Yield a list of (encoded image, label) for each group, without the bad records.

        Args:
            groups: record numbers, (n,) int64 each.
            progress: wraps the iteration over the groups.

        Raises:
            InputError: a record cannot be read, or too many cannot.
        """
        results = ordered_map(self._read_group, groups, self._num_workers)
        with contextlib.closing(results):
            for _, (images, bad) in zip(progress(groups), results):
                self.bad.add(bad)
                yield images
        self.bad.log_count()

    def _read_group(self, keys):
        """List of (image, label), and errors of the bad records by number."""
        images: List[Tuple[bytes, int]] = []
        bad: Dict[int, InputError] = {}
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
