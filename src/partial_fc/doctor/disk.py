"""Measures speed and space of folders; `facts` runs it as a process, since a dead network file system may block it.

python -m partial_fc.doctor.disk MODELS_ROOT [TRAIN.REC]
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from typing import Any, Callable, Dict

from ..files import file_digest

_BLOCK = os.urandom(2**22)  # random: no file system can compress it
# Limits of what is written or read, in time and in bytes.
_SECONDS = 3
_LARGEST = 2**28


def main() -> None:
    """Print one JSON object per line: `{"models_root": ...}`, `{"data": ...}`."""
    folder, *records = sys.argv[1:]
    print(json.dumps({"models_root": models_root(folder)}), flush=True)
    for path in records:
        print(json.dumps({"data": data(path)}), flush=True)


def models_root(path: str) -> Dict[str, Any]:
    """`path` that files will be written to, `free` bytes there, `write_mb_s`; or `error`."""
    folder = os.path.abspath(path)
    while not os.path.isdir(folder):  # training makes it
        folder = os.path.dirname(folder)
    result: Dict[str, Any] = {"path": os.path.abspath(path), "free": shutil.disk_usage(folder).free}
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".partial-fc-doctor-", buffering=0) as file:
            most = min(_LARGEST, result["free"] // 4)  # other programs may need space at the same time
            result["write_mb_s"] = _speed(lambda: file.write(_BLOCK), most, lambda: os.fsync(file.fileno()))
    except OSError as error:
        result["error"] = f"{folder}: {error.strerror}"
    return result


def data(path: str) -> Dict[str, Any]:
    """Of a record file: `path`, size in `bytes`, `index_digest`, `read_mb_s`; or `error`."""
    index = os.path.splitext(path)[0] + ".idx"
    result: Dict[str, Any] = {"path": os.path.abspath(path)}
    try:
        result.update(bytes=os.path.getsize(path), index_digest=file_digest(index, hashlib.blake2b(digest_size=8)))
        with open(path, "rb", buffering=0) as file:
            # Drop the file from the page cache, so that it is read from the disk.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            result["read_mb_s"] = _speed(lambda: len(file.read(len(_BLOCK))))
    except OSError as error:
        result["error"] = f"{error.filename or path}: {error.strerror}"
    return result


def _speed(transfer: Callable[[], int], largest: int = _LARGEST, finish: Callable[[], None] = lambda: None) -> float:
    """MB/s of repeated calls of `transfer`, which returns the bytes moved, 0 at the end."""
    start, total, moved = time.perf_counter(), 0, 1
    while moved and (not total or total < largest and time.perf_counter() - start < _SECONDS):
        moved = transfer()
        total += moved
    finish()
    return total / 1e6 / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
