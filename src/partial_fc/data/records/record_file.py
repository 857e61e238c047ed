"""Reading record files in InsightFace's form: `train.rec` with `train.idx` beside it.

Images are records 1, 2, ...; their label is the identity, 0, 1, .... One record per identity follows, whose label is
the half-open range of the record numbers of its images. The label of record 0 is the range of these identity records.
A plain file of images, whose record 0 has no range, is read too; its labels may have several numbers, of which the
first is the identity.

Numbers are stored as float32, which holds integers up to 2^24 only. Larger ranges are corrected by reading the records
that they name; larger labels are also stored exactly, in `id2` of the header.
"""

import os
import re
import shlex
import zlib
from typing import Optional, Tuple

import numpy as np

from ...errors import InputError
from ...files import refuse_pointer
from ...lists.text import text_lines
from .bad_records import BadRecords
from .identity_ranges import end_of_images, identity_ranges, refuse_detection
from .index import LACKING, check_starts, index_path, read_index
from .recordio import EXACT, HEADER_SIZE, LONGEST, MAGIC, READ_AT_ONCE, Record, read_record

PROPERTY = "property"
_LABELS_AT_ONCE = 2**20
# Places in a record, in words of 4 bytes: kind and length; number of further floats, 0 where the header has the
# label; label in the header; first of the further floats.
_LENGTH, _FLAG, _LABEL, _FIRST_LABEL = 1, 2, 3, 8
_LARGEST_LABEL = 2**63 - 1
_LEAST_AT_ONCE = 64


class RecordFile:
    """Images and labels of a record file, by record number. Threads may read at the same time.

    Args:
        path: the `.rec` file; its index is the `.idx` file of the same name.
        tolerant: whether to open a file whose record 0 is unusable, to save or examine the others; the records up to
            the last one that is readable as an image then count as images.

    Attributes:
        keys: (n,) int64 record numbers of the images, ascending.
        ranges: numbers of the records with the identities' ranges; None for a plain file of images.
        num_identities: number of ranges; for a plain file that in the file `property` beside it, or None.
        positions: position in the file by record number, int64, see `read_index`.
        problem: what is wrong with record 0, or None.

    Raises:
        InputError: the file or its index is missing or damaged, or it has no images.
    """

    def __init__(self, path: str, tolerant: bool = False) -> None:
        self.path, self.index_path = path, index_path(path)
        self._file = _open(path, self.index_path)
        size = os.fstat(self._file).st_size
        try:
            self.positions = read_index(self.index_path, size)
            check_starts(self.index_path, self.positions, self.words())
        except InputError as error:
            raise InputError(f"{error}; `partial-fc data index {shlex.quote(path)} --overwrite` rebuilds it") from error
        # enough for one read of most records: images of one data set differ little in length
        self._at_once = min(READ_AT_ONCE, 2 * size // max(len(self.positions), 1) + _LEAST_AT_ONCE)
        self.ranges, self.problem = self._find_ranges(tolerant)
        self.keys = self._images()
        if not len(self.keys):
            raise InputError(f"{path}: no images in this file")
        self.num_identities = self._count_identities()

    def _find_ranges(self, tolerant: bool) -> Tuple[Optional[range], Optional[str]]:
        """Numbers of the records with ranges, and what is wrong with record 0."""
        try:
            return identity_ranges(self), None
        except InputError as error:
            if not tolerant:
                raise InputError(f"{error}; `partial-fc data merge --on-bad-record skip` saves the images") from error
            return None, str(error)

    def _count_identities(self) -> Optional[int]:
        if self.ranges is not None:
            return len(self.ranges)
        refuse_detection(self)
        stated = read_property(os.path.dirname(self.path))
        return stated[0] if stated else None

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def read(self, key: int) -> Tuple[bytes, int]:
        """Encoded image and identity of record number `key`.

        Raises:
            InputError: the record cannot be read, or its label is not an identity: not an integer, or negative.
        """
        record = self.read_record(key)
        label = record.label if isinstance(record.label, float) else float(record.label[0])
        if not (label >= 0 and label.is_integer()):  # nan is not >= 0
            raise InputError(f"{self.path}: record {key} has label {label}, which is not an identity")
        return record.content, int(label) if label < EXACT else self._exact(label, record.id2, key)

    def read_record(self, key: int) -> Record:
        """The record of number `key`.

        Raises:
            InputError: it cannot be read.
        """
        position = self.positions.item(key) if 0 <= key < len(self.positions) else LACKING
        try:
            if position == LACKING:
                raise ValueError("it is not in the index")
            if position < 0:
                raise ValueError(
                    "its position in the index is outside of the file, or not a multiple of 4; `partial-fc data index` "
                    "rebuilds the index"
                )
            return read_record(self._file, position, self._at_once)
        except (ValueError, OSError) as error:
            raise InputError(f"{self.path}: record {key} cannot be read: {error}") from error

    def has(self, key: int) -> bool:
        """Whether a record number is in the index, readable or not."""
        return self.positions.item(key) != LACKING

    def words(self) -> np.ndarray:
        """The file as uint32, mapped into memory."""
        count = os.fstat(self._file).st_size // 4
        return np.memmap(self.path, "<u4", "r", shape=count) if count else np.zeros(0, "<u4")

    def labels(self, bad: Optional[BadRecords] = None) -> np.ndarray:
        """Identities of `keys`, (n,) int64; images are not read.

        Args:
            bad: counts the records that cannot be read, whose label is -1 then; None: they are errors.

        Raises:
            InputError: as `read`.
        """
        words, labels = self.words(), np.empty(len(self.keys), np.int64)
        for start in range(0, len(labels), _LABELS_AT_ONCE):
            part = slice(start, start + _LABELS_AT_ONCE)
            simple = self._simple_labels(words, self.keys[part], labels[part])
            for index in np.flatnonzero(~simple) + start:
                labels[index] = self._label(int(self.keys[index]), bad)
        return labels

    def _simple_labels(self, words, keys, labels):
        """Put labels that are one exact number into `labels`; returns which are, (n,) bool."""
        places = self.positions[keys] // 4
        within = (places >= 0) & (places < len(words) - _FIRST_LABEL)
        if not within.any():
            return within
        places = np.where(within, places, 0)
        numbers = words[places + _FLAG].astype(np.int64)
        values = words[places + np.where(numbers == 0, _LABEL, _FIRST_LABEL)].view("<f4")
        with np.errstate(invalid="ignore"):
            labels[:] = values
            simple = (values >= 0) & (values < EXACT) & (values % 1 == 0)
        lengths = words[places + _LENGTH]  # of a record of one part; those of others are larger
        whole = (numbers == 0) | (4 * numbers + HEADER_SIZE <= lengths) & (lengths < LONGEST)
        return within & simple & whole & (words[places] == MAGIC)

    def _label(self, key, bad):
        try:
            return self.read(key)[1]
        except InputError as error:
            if bad is None:
                raise
            bad.skip(key, error)
            return -1

    def checksum(self) -> int:
        """CRC-32 of all positions and of the file's size, to recognize the data set."""
        return zlib.crc32(self.positions.data, os.fstat(self._file).st_size % 2**32)

    def _exact(self, label, number, key):
        if number > _LARGEST_LABEL or float(np.float32(number)) != label:
            raise InputError(
                f"{self.path}: record {key} has label {label:.0f}, stored as float32, which rounds from {EXACT} on: "
                "pack the images again with `partial-fc data pack`, which also stores the exact label"
            )
        return number

    def _images(self):
        keys = np.flatnonzero(self.positions != LACKING)
        if self.problem:
            return keys[(keys > 0) & (keys < end_of_images(self))]
        return keys if self.ranges is None else keys[(keys > 0) & (keys < self.ranges.start)]


def _open(path, index):
    """Descriptor of a record file; raises InputError unless it and its index are there."""
    if not os.path.isfile(path):
        raise InputError(
            f"{path}: no such file. A data set is a pair train.rec, train.idx; training takes that of "
            "--rec PATH/train.rec, or a preset's in $PARTIAL_FC_DATA if that is set, otherwise in data/"
        )
    if not os.path.isfile(index):
        raise InputError(f"{index}: no such file: `partial-fc data index {shlex.quote(path)}` makes it")
    for name in (path, index):
        refuse_pointer(name)
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def read_property(folder: str) -> Optional[Tuple[int, int, int]]:
    """(identities, height, width) of InsightFace's file `property` in a folder; None if there is no such file.

    Raises:
        InputError: it does not hold three integers.
    """
    path = os.path.join(folder, PROPERTY)
    if not os.path.lexists(path):
        return None
    lines = [line for _, line in text_lines(path)]
    found = re.fullmatch(r"\s*([0-9]{1,12})\s*,\s*([0-9]{1,6})\s*,\s*([0-9]{1,6})\s*", "".join(lines[:2]))
    if not found:
        raise InputError(f"{path}, line 1: expected identities,height,width")
    identities, height, width = map(int, found.groups())
    return identities, height, width
