"""Record files in InsightFace's form: `train.rec` with `train.idx` beside it.

Images are records 1, 2, ...; their label is the identity, 0, 1, .... One record for each identity follows, whose label
is the half-open range of the identity's images. Record 0 closes the circle: its label is the range of the identity
records. A plain file of images, without record 0's range, is read too.
"""

import os
import threading

import mxnet as mx
import numpy as np

from ..errors import InputError
from ..files import atomic_path

# IRHeader's label is an array of that many floats.
_RANGE = 2


class RecordFile:
    """Images and labels of a record file, by record number.

    Args:
        path: the `.rec` file; its index is the `.idx` file of the same name.

    Attributes:
        keys: (n,) int64 record numbers of the images, ascending.
        num_identities: identities the file lists; None for a plain file of images.

    Raises:
        InputError: a missing or damaged file, or one without images.
    """

    def __init__(self, path):
        self.path = path
        index = os.path.splitext(path)[0] + ".idx"
        for name in (path, index):
            if not os.path.isfile(name):
                raise InputError(
                    f"{name}: no such file. A data set is a pair train.rec, train.idx: give its path with "
                    "--rec PATH/train.rec, or put the folders of the presets' data into $PARTIAL_FC_DATA"
                )
        self._lock = threading.Lock()  # one file position for all threads
        try:
            self._file = mx.recordio.MXIndexedRecordIO(index, path, "r")
        except (ValueError, IndexError, mx.base.MXNetError) as error:
            raise InputError(f"{index}: not an index of record numbers and positions: {error}") from error
        self.keys, self.num_identities = self._images()
        if not len(self.keys):
            raise InputError(f"{path}: no images in this file")

    def _images(self):
        keys = np.array(sorted(self._file.keys), dtype=np.int64)
        if not len(keys) or keys[0] != 0:
            return keys, None
        header, _ = self._unpack(0)
        if header.flag == 0:
            return keys, None
        try:
            first, end = (int(edge) for edge in header.label)
        except (ValueError, OverflowError, TypeError) as error:
            raise InputError(f"{self.path}: record 0 holds {header.label}, not the range of identities") from error
        return keys[(keys > 0) & (keys < first)], end - first

    def read(self, key):
        """Encoded image (bytes) and identity (int) of record number `key`.

        Raises:
            InputError: an unreadable record, or a label that is not a whole number.
        """
        header, image = self._unpack(int(key))
        label = float(np.ravel(header.label)[0])
        if not label.is_integer():
            raise InputError(f"{self.path}: record {key} has label {label}, which is not an identity")
        return image, int(label)

    def _unpack(self, key):
        try:
            with self._lock:
                record = self._file.read_idx(key)
            return mx.recordio.unpack(record)
        except Exception as error:  # struct.error, MXNetError, TypeError, ... : whatever the damage leads to
            reason = (str(error).splitlines() or [type(error).__name__])[-1]  # above it, MXNet puts its C++ stack
            raise InputError(f"{self.path}: record {key} cannot be read: {reason}") from error


def write_records(path, identities):
    """Write a record file and, beside it, its index.

    Args:
        path: the `.rec` file.
        identities: iterable of lists of encoded images, all of one identity; the n-th gets label n.

    Returns:
        Number of images.

    Raises:
        OSError: naming the file, if it cannot be written; nothing is left under its name then.
    """
    index = os.path.splitext(path)[0] + ".idx"
    with atomic_path(path) as rec, atomic_path(index) as idx:
        file = mx.recordio.MXIndexedRecordIO(idx, rec, "w")
        try:
            key = _write_identities(file, identities)
            file.close()
        except mx.base.MXNetError as error:
            raise OSError(f"{path}: cannot be written: {str(error).splitlines()[-1]}") from error
    return key - 1


def _write_identities(file, identities):
    """Write images, ranges of identities, and the range of these; returns the first record number after the images."""
    key, ranges = 1, []
    for label, images in enumerate(identities):
        for image in images:
            file.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, float(label), key, 0), image))
            key += 1
        ranges.append((key - len(images), key))
    for number, edges in enumerate(ranges, start=key):
        _write_range(file, number, edges)
    _write_range(file, 0, (key, key + len(ranges)))
    return key


def _write_range(file, key, edges):
    header = mx.recordio.IRHeader(_RANGE, np.array(edges, np.float32), key, 0)
    file.write_idx(key, mx.recordio.pack(header, b""))
