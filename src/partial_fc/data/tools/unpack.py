"""Unpacking record files to folders of images, one per identity."""

import contextlib
import os
from typing import Dict, Sequence, Set, Tuple

from ...distributed.lock import LOCK, Lock
from ...errors import InputError
from ...files import atomic_path
from ..parallel import ordered_map
from ..progress import Progress
from ..records.bad_records import BadRecords
from ..records.data_set import record_path
from ..records.record_file import RecordFile
from .copying import ONE_BY_ONE, Reading


def unpack(
    sources: Sequence[str], out: str, progress: Progress = iter, reading: Reading = ONE_BY_ONE
) -> Tuple[int, int]:
    """Write every image of record files, byte for byte, as `out/id_LABEL/LABEL_N.jpg`.

    N counts all images from 0 on, through all the record files. The labels of a record file are increased by the number
    of identities of those before it. An image that exists with the right size is not written again: an interrupted run
    is finished by starting it again.

    Args:
        sources: folders with `train.rec` and `train.idx`, or paths of record files.
        out: folder of the identities' folders.
        progress: wraps the iteration over N, a `range`.
        reading: how records are read; its threads also write. The content of records is not decoded.

    Returns:
        (number of images, number of identities).

    Raises:
        InputError: a record file is missing or damaged, a label is not an identity, another program is writing to
            `out`.
    """
    files = [_open(source, reading.tolerant) for source in sources]
    with Lock(os.path.join(out, LOCK)):
        return _unpack(files, out, progress, reading)


def _unpack(files, out, progress, reading):
    numbers = iter(progress(range(sum(len(records.keys) for records in files))))
    offset = start = written = 0
    for records in files:
        bad, identities = reading.bad_records(records), records.num_identities or 0
        writer = _Writer(records, out, offset, start, bad)
        with contextlib.closing(ordered_map(writer.write, range(len(records.keys)), reading.num_workers)) as results:
            # The results first: zip takes no further number after the last one.
            for (label, found), _ in zip(results, numbers):
                bad.add(found)
                identities, written = max(identities, label + 1), written + (label >= 0)
        bad.log_count()
        start += len(records.keys)
        offset += identities
    next(numbers, None)  # ends the progress
    return written, offset


class _Writer:
    """Writes the images of a record file; labels are increased by `offset`, numbers by `start`."""

    def __init__(self, records: RecordFile, out: str, offset: int, start: int, bad: BadRecords) -> None:
        self._records, self._out, self._offset, self._start, self._bad = records, out, offset, start, bad
        self._made: Set[int] = set()

    def write(self, index: int) -> Tuple[int, Dict[int, InputError]]:
        """Write the image at an index of `keys`. Threads may do so at the same time.

        Returns:
            Its label in the file, -1 if the record is bad; then also its error, by record number.
        """
        key = int(self._records.keys[index])
        found: Dict[int, InputError] = {}
        try:
            image, label = self._records.read(key)
        except InputError as error:
            self._bad.collect(key, error, found)
            return -1, found
        identity = self._offset + label
        folder = os.path.join(self._out, f"id_{identity}")
        if identity not in self._made:
            os.makedirs(folder, exist_ok=True)
            self._made.add(identity)
        _write_image(folder, f"{identity}_{self._start + index}.jpg", image)
        return label, found


def _open(source, tolerant):
    path = record_path(source)
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file; a source is a folder with train.rec, or a .rec file")
    return RecordFile(path, tolerant)


def _write_image(folder, name, image):
    path = os.path.join(folder, name)
    try:
        if os.path.getsize(path) == len(image):
            return
    except FileNotFoundError:
        pass
    # Not synced, which takes hours for millions of files: those that a crash of the machine damages have another size.
    with atomic_path(path, synced=False) as unfinished, open(unfinished, "wb") as file:
        file.write(image)
