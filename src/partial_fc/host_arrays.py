"""Large arrays of the host: in memory, or in files that memory maps."""

import mmap
import os
import shutil
import tempfile

import numpy as np

from .errors import InputError


def memory_array(num_rows, num_columns):
    """float32 zeros (num_rows, num_columns) in large pages where the system has them: rows are touched at random."""
    memory = mmap.mmap(-1, _size(num_rows, num_columns), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.float32).reshape(num_rows, num_columns)


def file_array(folder, num_rows, num_columns):
    """float32 zeros (num_rows, num_columns) in a file of `folder`, whose space is reserved.

    The file has no name: its space is free again when the process has ended, in whatever way.

    Raises:
        InputError: if the folder cannot be written or has no room.
    """
    size = _size(num_rows, num_columns)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            memory = mmap.mmap(file.fileno(), size)
    except OSError as error:
        free = f", {shutil.disk_usage(folder).free / 2**30:.1f} GiB are free there" if os.path.isdir(folder) else ""
        room = f"no room for {size / 2**30:.1f} GiB of centers{free}"
        raise InputError(f"--bank-dir {folder}: {room}: {error}") from error
    return np.frombuffer(memory, np.float32).reshape(num_rows, num_columns)


def _size(num_rows, num_columns):
    return 4 * num_rows * num_columns
