"""Run by `facts` in a process of its own, which a dead network file system may keep: speed and space of folders.

python -m partial_fc.doctor.disk MODELS_ROOT [TRAIN.REC]
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time

from ..files import file_digest

_BLOCK = os.urandom(2**22)  # which no file system compresses
# As much is written or read as takes this long, but no more than _LARGEST bytes.
_SECONDS = 3
_LARGEST = 2**28


def main():
    """Print one JSON object a line: `{"models_root": ...}`, `{"data": ...}`."""
    folder, *records = sys.argv[1:]
    print(json.dumps({"models_root": models_root(folder)}), flush=True)
    for path in records:
        print(json.dumps({"data": data(path)}), flush=True)


def models_root(path):
    """Where files will go, free bytes there, and MB/s of writing to the disk."""
    folder = os.path.abspath(path)
    while not os.path.isdir(folder):  # it is made when training starts
        folder = os.path.dirname(folder)
    result = {"path": os.path.abspath(path), "free": shutil.disk_usage(folder).free}
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".partial-fc-doctor-", buffering=0) as file:
            few = min(_LARGEST, result["free"] // 4)  # other programs need room meanwhile
            result["write_mb_s"] = _speed(lambda: file.write(_BLOCK), few, lambda: os.fsync(file.fileno()))
    except OSError as error:
        result["error"] = f"{folder}: {error.strerror}"
    return result


def data(path):
    """Sizes of a record file and its index, a digest of the index, and MB/s of reading from the disk."""
    index = os.path.splitext(path)[0] + ".idx"
    result = {"path": os.path.abspath(path)}
    try:
        result.update(bytes=os.path.getsize(path), index_digest=file_digest(index, hashlib.blake2b(digest_size=8)))
        with open(path, "rb", buffering=0) as file:
            # What the kernel remembers of the file would be read from memory.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            result["read_mb_s"] = _speed(lambda: len(file.read(len(_BLOCK))))
    except OSError as error:
        result["error"] = f"{error.filename or path}: {error.strerror}"
    return result


def _speed(transfer, largest=_LARGEST, finish=lambda: None):
    """MB/s of `transfer`, which returns a number of bytes, 0 at the end, called again and again."""
    start, total, moved = time.perf_counter(), 0, 1
    while moved and (not total or total < largest and time.perf_counter() - start < _SECONDS):
        moved = transfer()
        total += moved
    finish()
    return total / 1e6 / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
