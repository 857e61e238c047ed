"""Reading record files in InsightFace's form: `train.rec` with `train.idx` beside it.

Images are records 1, 2, ...; their label is the identity, 0, 1, .... One record for each identity follows, whose label
is the half-open range of the identity's images. Record 0 closes the circle: its label is the range of the identity
records. A plain file of images, without record 0's range, is read too.

Numbers are stored as float32, which holds whole numbers up to 2^24 only. Ranges beyond that are put right by a look at
the records they mean; a label beyond stands a second time, exact, in the header's `id2`.
"""

import os
import re
import zlib

import numpy as np

from ..errors import InputError
from .index import read_index
from .recordio import READ_AT_ONCE, read_record

EXACT = 2**24  # float32 holds whole numbers up to here
_LABELS_AT_ONCE = 2**20
_LEAST_AT_ONCE = 64


class RecordFile:
    """Images and labels of a record file, by record number. Threads may read at the same time.

    Args:
        path: the `.rec` file; its index is the `.idx` file of the same name.

    Attributes:
        keys: (n,) int64 record numbers of the images, ascending.
        ranges: record numbers of the identities' ranges, a `range`; None for a plain file of images.
        num_identities: identities the file lists; for a plain file what `property` beside it tells, or None.
        positions: int64, of each record number in the file; -1 for numbers that the index lacks.

    Raises:
        InputError: a missing or damaged file, or one without images.
    """

    def __init__(self, path):
        self.path, self.index_path = path, os.path.splitext(path)[0] + ".idx"
        for name in (path, self.index_path):
            if not os.path.isfile(name):
                raise InputError(
                    f"{name}: no such file. A data set is a pair train.rec, train.idx; training looks for it where "
                    "--rec PATH/train.rec says, and for the presets' in $PARTIAL_FC_DATA, or else in data/"
                )
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        size = os.fstat(self._file).st_size
        self.positions = read_index(self.index_path, size)
        # enough for most: images of one kind differ little in length
        self._at_once = min(READ_AT_ONCE, 2 * size // max(len(self.positions), 1) + _LEAST_AT_ONCE)
        self.ranges = self._ranges()
        keys = np.flatnonzero(self.positions >= 0)
        if self.ranges is not None:
            keys = keys[(keys > 0) & (keys < self.ranges.start)]
        self.keys = keys
        if not len(keys):
            raise InputError(f"{path}: no images in this file")
        self.num_identities = self._property() if self.ranges is None else len(self.ranges)

    def __del__(self):
        if hasattr(self, "_file"):
            os.close(self._file)

    def read(self, key):
        """Encoded image (bytes) and identity (int) of record number `key`.

        Raises:
            InputError: an unreadable record, or a label that is no identity: not a whole number, or below 0.
        """
        record = self.read_record(key)
        label = record.label if type(record.label) is float else float(record.label[0])
        if not (label >= 0 and label.is_integer()):  # nan is not >= 0
            raise InputError(f"{self.path}: record {key} has label {label}, which is not an identity")
        return record.content, int(label) if label < EXACT else self._exact(label, record.id2, key)

    def read_record(self, key):
        """The `recordio.Record` of number `key`.

        Raises:
            InputError: it cannot be read.
        """
        position = self.positions.item(key) if 0 <= key < len(self.positions) else -1
        try:
            if position < 0:
                raise ValueError("the index does not have it")
            return read_record(self._file, position, self._at_once)
        except (ValueError, OSError) as error:
            raise InputError(f"{self.path}: record {key} cannot be read: {error}") from error

    def labels(self):
        """(n,) int64 identities of `keys`, without reading the images.

        Raises:
            InputError: as `read`.
        """
        words = np.memmap(self.path, "<u4", "r", shape=os.fstat(self._file).st_size // 4)
        labels = np.empty(len(self.keys), np.int64)
        for start in range(0, len(labels), _LABELS_AT_ONCE):
            part = slice(start, start + _LABELS_AT_ONCE)
            # magic, length, flag, label
            places = np.minimum(self.positions[self.keys[part]] // 4, max(len(words) - 4, 0))
            values = words[places + 3].view("<f4")
            with np.errstate(invalid="ignore"):
                simple = (words[places + 2] == 0) & (values >= 0) & (values < EXACT) & (values % 1 == 0)
                labels[part] = values
            for index in np.flatnonzero(~simple) + start:
                labels[index] = self.read(self.keys[index])[1]
        return labels

    def checksum(self):
        """CRC-32 of all positions and of the file's size: other data have another."""
        return zlib.crc32(self.positions, os.fstat(self._file).st_size % 2**32)

    def _exact(self, label, number, key):
        if float(np.float32(number)) != label:
            raise InputError(
                f"{self.path}: record {key} has label {label:.0f}, and labels are stored as float32, which rounds "
                f"from {EXACT} on: pack the images again with `partial-fc data pack`, which stores the exact label, too"
            )
        return number

    def _ranges(self):
        if not len(self.positions) or self.positions[0] < 0:
            return None
        label = self.read_record(0).label
        if type(label) is float:
            return None
        if len(label) != 2 or not np.isfinite(label).all() or not 0 < label[0] <= label[1]:
            raise InputError(f"{self.path}: record 0 holds {label}, not the range of identities")
        start, stop = (int(edge) for edge in label)
        # Rounded, they are off by at most half the distance between two float32s.
        doubt = [int(np.ceil(np.spacing(edge) / 2)) if edge >= EXACT else 0 for edge in label]
        if abs(stop - len(self.positions)) <= doubt[1]:
            stop = len(self.positions)
        if stop > len(self.positions):
            raise InputError(
                f"{self.path}: record 0 says that records go up to {stop - 1}, and {self.index_path} has them up to "
                f"{len(self.positions) - 1}: one of the files is damaged or of another data set"
            )
        if doubt[0]:
            start = self._first_range(start, doubt[0])
        return range(start, stop)

    def _first_range(self, start, doubt):
        """The first record near `start` whose label is an array, as ranges' are, and which holds no image."""
        for key in range(start - doubt, start + doubt + 1):
            record = self.read_record(key)
            if type(record.label) is not float and not len(record.content):
                return key
        raise InputError(f"{self.path}: no range of an identity near record {start}, where record 0 has the first")

    def _property(self):
        """The number of identities in InsightFace's `property` file, `identities,height,width`; None without one."""
        path = os.path.join(os.path.dirname(self.path), "property")
        try:
            with open(path, encoding="ascii") as file:
                found = re.fullmatch(r"\s*([0-9]{1,12})\s*,[0-9,\s]*", file.read(100))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            found = None
        if not found:
            raise InputError(f"{path}: expected identities,height,width")
        return int(found.group(1))
