"""Features while they are computed: a run that was killed continues from what is there."""

import errno
import logging
import os
import shutil
from typing import Any, Collection, Dict, List, Optional, Tuple

import numpy as np

from ..checkpoint.numpy_file import open_matrix
from ..data.journal import Journal, read_journal
from ..distributed.lock import Lock
from ..errors import InputError
from ..files import naming

log = logging.getLogger("partial_fc")

BLOCK_ROWS = 512
_FEATURES, _JOURNAL, _KEPT = "features.npy", "journal-", "kept.npy"
_FLOAT32 = np.dtype("<f4")


class UnfinishedFeatures:
    """`features.npy` of full length in the folder `.NAME.unfinished` beside the final file, filled block by block.

    Each rank has a journal, `journal-RANK`: the arguments, then [block, reasons] for each block that it has written,
    with the reasons why images of the block were skipped, by row. Rank 0 prepares; then every rank opens the files. A
    run may continue with another number of ranks: all journals count.

    Args:
        out: path of the final file.
        shape: (n, D) of the features.
    """

    def __init__(self, out: str, shape: Tuple[int, int]) -> None:
        parent, name = os.path.split(os.path.abspath(out))
        self.folder = os.path.join(parent, f".{name}.unfinished")
        self._lock = Lock(os.path.join(parent, f".{name}.lock"))
        self._shape = shape
        self._num_blocks = -(-shape[0] // BLOCK_ROWS)
        self._file: Optional[int] = None
        self._journal: Optional[Journal] = None

    def lock(self) -> None:
        """Keep out other runs until `close`; raises Held if one is running."""
        self._lock.acquire()

    def matches(self, arguments: Dict[str, Any]) -> bool:
        """Whether there is an unfinished run of such arguments (what JSON holds)."""
        return self._arguments() == arguments

    def prepare(self, arguments: Dict[str, Any], anew: bool) -> None:
        """Make the files, unless those of a run of these arguments are there and `anew` is false; the lock is held.

        Raises:
            OSError: naming the file, if one cannot be written; the space on the disk is taken here.
        """
        if not anew and self.matches(arguments):
            return
        if os.path.isdir(self.folder):
            shutil.rmtree(self.folder)
        os.makedirs(self.folder)
        _new_matrix(self._path(_FEATURES), self._shape)
        journal = Journal(self._journal_path(0))
        journal.add(arguments, synced=True)  # last: the features are there in full length
        journal.close()

    def open(self, rank: int = 0) -> List[range]:
        """Open the files, to write blocks of this rank; returns the rows still to do, a range for each block.

        Raises:
            InputError: `features.npy` is of another shape.
            OSError: naming the file that cannot be opened.
        """
        self._offset = self._features().offset
        self._file = os.open(self._path(_FEATURES), os.O_RDWR | os.O_CLOEXEC)
        finished = self._finished()
        path = self._journal_path(rank)
        end = self._read(path)[1]
        self._journal = Journal(path, end)
        if not end:
            self._journal.add(self._arguments())
        blocks = [block for block in range(self._num_blocks) if block not in finished]
        if blocks and len(blocks) < self._num_blocks:
            log.info("continuing %s: %d of %d blocks left", self.folder, len(blocks), self._num_blocks)
        return list(map(self._rows, blocks))

    def write(self, rows: range, features: np.ndarray, skipped: Optional[Dict[int, str]] = None) -> None:
        """Write a block, and note that it is done.

        Args:
            rows: of the block, as `open` returned them.
            features: (len(rows), D).
            skipped: reasons by row, of images of the block that were skipped.

        Raises:
            OSError: naming the file, if one cannot be written.
        """
        assert self._file is not None and self._journal is not None
        data = np.ascontiguousarray(features, _FLOAT32)
        try:
            os.pwrite(self._file, data.data, self._offset + rows.start * data[0].nbytes)
            os.fdatasync(self._file)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path(_FEATURES)) from error
        reasons = {str(row): reason for row, reason in (skipped or {}).items()}
        self._journal.add([rows.start // BLOCK_ROWS, reasons], synced=True)

    def skipped(self) -> Dict[int, str]:
        """Reasons by row, ascending, of all images that were skipped, by this run and those that it continues."""
        return {
            row: reason for _, reasons in sorted(self._finished().items()) for row, reason in sorted(reasons.items())
        }

    def close(self) -> None:
        """Close the files, and release the lock."""
        self._close_files()
        self._lock.release()

    def move_to(self, path: str, left_out: Collection[int] = ()) -> None:
        """Give the features their final name, without the rows `left_out`, and remove the folder."""
        os.replace(self._without(left_out) if left_out else self._path(_FEATURES), path)
        self._close_files()  # network file systems keep what is open
        shutil.rmtree(self.folder)

    def _close_files(self):
        if self._file is not None:
            os.close(self._file)
        if self._journal is not None:
            self._journal.close()
        self._file = self._journal = None

    def _without(self, left_out):
        """Path of a copy without these rows."""
        features = self._features()
        rows = np.delete(np.arange(len(features)), list(left_out))
        kept = _new_matrix(self._path(_KEPT), (len(rows), features.shape[1]))
        for start in range(0, len(rows), BLOCK_ROWS):
            kept[start : start + BLOCK_ROWS] = features[rows[start : start + BLOCK_ROWS]]
        kept.flush()
        return self._path(_KEPT)

    def _features(self):
        features = open_matrix(self._path(_FEATURES), "features")
        if features.shape != self._shape or features.dtype != _FLOAT32:
            held = f"{features.dtype} of shape {features.shape}"
            raise InputError(f"{self._path(_FEATURES)}: {held}, not float32 of {self._shape}: remove the folder")
        return features

    def _arguments(self):
        """Those of the run; None where there is none."""
        return next((entry for entry, _ in read_journal(self._journal_path(0))), None)

    def _finished(self):
        """Of each block that a run has written: reasons of skipped images by row."""
        finished = {}
        for name in os.listdir(self.folder):
            if name.startswith(_JOURNAL):
                finished.update(self._read(self._path(name))[0])
        return finished

    def _read(self, path):
        """Finished blocks of one journal, see `_finished`, and the position after the last entry that can be used."""
        finished, end = {}, 0
        for entry, position in read_journal(path):
            if not end:
                if entry != self._arguments():
                    break
            elif not self._is_block(entry):
                break
            else:
                finished[entry[0]] = {int(row): str(reason) for row, reason in entry[1].items()}
            end = position
        return finished, end

    def _is_block(self, entry):
        """Whether an entry is [block, reasons by row of the block]."""
        if not (isinstance(entry, list) and len(entry) == 2 and type(entry[0]) is int and isinstance(entry[1], dict)):
            return False
        block, reasons = entry
        return 0 <= block < self._num_blocks and set(reasons) <= set(map(str, self._rows(block)))

    def _rows(self, block):
        return range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, self._shape[0]))

    def _journal_path(self, rank):
        return self._path(f"{_JOURNAL}{rank}")

    def _path(self, name):
        return os.path.join(self.folder, name)


def _new_matrix(path, shape):
    """A new file of a matrix, in float32, mapped into memory.

    Its space on the disk is taken, so that a full one is reported now and not after hours.
    """
    with naming(path):
        matrix = np.lib.format.open_memmap(path, "w+", _FLOAT32, shape)
        with open(path, "rb+") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that cannot
                    raise
    return matrix
