"""Features while they are computed: a run that was killed goes on from what is there."""

import errno
import json
import logging
import os
import re
import shutil

import numpy as np

from ..checkpoint.numpy_file import open_matrix
from ..distributed.lock import Lock
from ..errors import InputError
from ..files import atomic_path, naming, read_json

log = logging.getLogger("partial_fc")

BLOCK_ROWS = 512
_ROW = re.compile("[0-9]{1,15}")
_FEATURES, _DONE, _ARGUMENTS, _BAD, _KEPT = "features.npy", "done", "arguments.json", "bad-", "kept.npy"


class UnfinishedFeatures:
    """`features.npy` of full length in the folder `.NAME.unfinished` beside the final file, filled block by block.

    A byte of `done` for each block says whether it is, `bad-BLOCK.json` which of its images were skipped, and why. One
    rank prepares; then every rank opens the files, and writes blocks of its own.

    Args:
        out: path of the final file.
        shape: (n, D) of the features.
    """

    def __init__(self, out, shape):
        parent, name = os.path.split(os.path.abspath(out))
        self.folder = os.path.join(parent, f".{name}.unfinished")
        self._lock = Lock(os.path.join(parent, f".{name}.lock"))
        self._shape, self._files = shape, ()
        self._num_blocks = -(-shape[0] // BLOCK_ROWS)

    def lock(self):
        """Keep out other runs until `close`; raises Held if one is at work."""
        self._lock.acquire()

    def matches(self, arguments):
        """Whether there is an unfinished run of such arguments (dictionary of what JSON holds)."""
        return json_or_none(self._path(_ARGUMENTS)) == arguments

    def prepare(self, arguments, anew):
        """Make the files, where there are none of these arguments yet or `anew` is set; to be called with the lock.

        Raises:
            OSError: naming the file, if one cannot be written; the room on the disk is taken here.
        """
        os.makedirs(self.folder, exist_ok=True)
        if not anew and self.matches(arguments):
            return
        for name in [_ARGUMENTS, *self._bad_files()]:
            if os.path.exists(self._path(name)):
                os.remove(self._path(name))
        np.lib.format.open_memmap(self._path(_FEATURES), "w+", np.dtype("<f4"), self._shape)
        _reserve(self._path(_FEATURES))
        with naming(self._path(_DONE)), open(self._path(_DONE), "wb") as file:
            file.write(bytes(self._num_blocks))
        write_json(self._path(_ARGUMENTS), arguments)  # the last: the others are whole

    def open(self):
        """Open the files that a rank has prepared; returns the rows still to do, a range for each block."""
        self._offset = self._features().offset
        self._files = [os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC) for name in (_FEATURES, _DONE)]
        done = os.pread(self._files[1], self._num_blocks, 0)
        if len(done) != self._num_blocks:
            raise InputError(f"{self._path(_DONE)}: not as long as it was made: remove the folder")
        blocks = [block for block in range(self._num_blocks) if not done[block]]
        if blocks and len(blocks) < self._num_blocks:
            log.info("going on with %s: %d of %d blocks are to do", self.folder, len(blocks), self._num_blocks)
        return [range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, self._shape[0])) for block in blocks]

    def note_bad(self, rows, reasons):
        """Note, before a block is written, which of its rows are of images that were skipped: reasons (str) by row."""
        path = self._path(f"{_BAD}{rows.start // BLOCK_ROWS}.json")
        if reasons:
            write_json(path, reasons)
        elif os.path.exists(path):  # of a run that was killed before it wrote the block
            os.remove(path)

    def write(self, rows, features):
        """Write the features, (n, D), of a block's rows, and note that it is done. Raises OSError naming the file."""
        data = np.ascontiguousarray(features, "<f4")
        try:
            os.pwrite(self._files[0], data, self._offset + rows.start * data[0].nbytes)
            os.fdatasync(self._files[0])
            os.pwrite(self._files[1], b"\1", rows.start // BLOCK_ROWS)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path(_FEATURES)) from error

    def bad(self):
        """What `note_bad` noted of all blocks, in order of the rows."""
        found = {}
        for name in self._bad_files():
            noted = read_json(self._path(name))
            if not isinstance(noted, dict) or not all(map(_ROW.fullmatch, noted)):
                raise InputError(f"{self._path(name)}: not rows with reasons: remove the folder")
            found.update({int(row): str(reason) for row, reason in noted.items()})
        return dict(sorted(found.items()))

    def close(self):
        """Close the files, and let others use them."""
        self._close_files()
        self._lock.release()

    def move_to(self, path, left_out=()):
        """Give the features their final name, without the rows that are left out, and remove the folder."""
        os.replace(self._without(left_out) if left_out else self._path(_FEATURES), path)
        self._close_files()  # network file systems keep what is open
        shutil.rmtree(self.folder)

    def _close_files(self):
        for file in self._files:
            os.close(file)
        self._files = ()

    def _without(self, left_out):
        """Path of a copy without these rows."""
        features = self._features()
        rows = np.delete(np.arange(len(features)), list(left_out))
        kept = np.lib.format.open_memmap(self._path(_KEPT), "w+", features.dtype, (len(rows), features.shape[1]))
        _reserve(self._path(_KEPT))
        for start in range(0, len(rows), BLOCK_ROWS):
            kept[start : start + BLOCK_ROWS] = features[rows[start : start + BLOCK_ROWS]]
        kept.flush()
        return self._path(_KEPT)

    def _features(self):
        features = open_matrix(self._path(_FEATURES), "features")
        if features.shape != self._shape or features.dtype != np.dtype("<f4"):
            held = f"{features.dtype} of shape {features.shape}"
            raise InputError(f"{self._path(_FEATURES)}: {held}, not float32 of {self._shape}: remove the folder")
        return features

    def _bad_files(self):
        return [name for name in os.listdir(self.folder) if name.startswith(_BAD) and name.endswith(".json")]

    def _path(self, name):
        return os.path.join(self.folder, name)


def json_or_none(path):
    """The value in a file of JSON; None where there is none, or another thing."""
    try:
        return read_json(path)
    except InputError:
        return None


def write_json(path, value):
    """Write a file of JSON, whole or not at all."""
    with atomic_path(path) as unfinished, open(unfinished, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def _reserve(path):
    """Take the room of a sparse file on its disk, so that a full one is reported now and not after hours."""
    with open(path, "rb+") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that cannot
                return
            raise OSError(error.errno, error.strerror, path) from error
