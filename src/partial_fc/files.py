"""Files and folders that appear under their name whole or not at all."""

import contextlib
import hashlib
import os

_READ = 2**20


@contextlib.contextmanager
def atomic_path(path):
    """Temporary path beside `path`: synced and renamed to it when the block ends, removed when the block fails."""
    folder, name = os.path.split(os.path.abspath(path))
    unfinished = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        yield unfinished
        sync(unfinished)
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(unfinished)


def sync(path):
    """Have a file, or the names in a folder, on the disk before this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path):
    """Checksum of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        for block in iter(lambda: file.read(_READ), b""):
            digest.update(block)
    return digest.hexdigest()
