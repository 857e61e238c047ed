"""Record files to folders of images, one for each identity."""

import contextlib
import os

from ...distributed.lock import LOCK, Lock
from ...errors import InputError
from ...files import atomic_path
from ..parallel import ordered_map
from ..records.data_set import record_path
from ..records.record_file import RecordFile
from .copying import ONE_BY_ONE


def unpack(sources, out, progress=iter, reading=ONE_BY_ONE):
    """Write every image of record files, byte for byte, as `out/id_LABEL/LABEL_N.jpg`.

    N counts all images from 0 on, through all the record files. Labels of a record file are raised by the number of
    identities of those before it. An image that is there in full is left alone: a run that was broken off is finished
    by starting it again.

    Args:
        sources: folders with `train.rec` and `train.idx`, or paths of record files.
        out: folder of the identities' folders.
        progress: wraps the iteration over N, a `range`, to show how far it is.
        reading: Reading; its threads write, too. What can be read is written, be it an image or not.

    Returns:
        Number of images written and of identities.

    Raises:
        InputError: a missing or damaged record file, a label that is no identity; another program writes to `out`.
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
            # The results first: zip takes no number for a file that has ended.
            for (label, met), _ in zip(results, numbers):
                bad.add(met)
                identities, written = max(identities, label + 1), written + (label >= 0)
        bad.log_count()
        start += len(records.keys)
        offset += identities
    next(numbers, None)  # the end of the progress
    return written, offset


class _Writer:
    """Writes the images of a record file, whose labels and numbers are raised by those of the files before."""

    def __init__(self, records, out, offset, start, bad):
        self._records, self._out, self._offset, self._start, self._bad = records, out, offset, start, bad
        self._made = set()

    def write(self, index):
        """Write the image at an index of `keys`. Threads may do so at the same time.

        Returns:
            Its label in the file, -1 if it is bad; its error by its number then.
        """
        key, met = int(self._records.keys[index]), {}
        try:
            image, label = self._records.read(key)
        except InputError as error:
            self._bad.collect(key, error, met)
            return -1, met
        identity = self._offset + label
        folder = os.path.join(self._out, f"id_{identity}")
        if identity not in self._made:
            os.makedirs(folder, exist_ok=True)
            self._made.add(identity)
        _write_image(folder, f"{identity}_{self._start + index}.jpg", image)
        return label, met


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
    # Not synced one by one, which takes hours for millions: what a crash of the machine damages has another size.
    with atomic_path(path, synced=False) as unfinished, open(unfinished, "wb") as file:
        file.write(image)
