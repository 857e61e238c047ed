"""Files and folders that appear under their name whole or not at all."""

import contextlib
import errno
import hashlib
import io
import os
import shutil

_READ = 2**20


@contextlib.contextmanager
def atomic_path(path, synced=True):
    """Temporary path beside `path`: synced and renamed to it when the block ends, removed when the block fails.

    Errors of the block that name no file name `path`, see `naming`.

    Args:
        synced: whether the content is on the disk before the file has its name.
    """
    folder, name = os.path.split(os.path.abspath(path))
    unfinished = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        with naming(path):
            yield unfinished
            if synced:
                sync(unfinished)
            os.replace(unfinished, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(unfinished)


@contextlib.contextmanager
def naming(path, *errors):
    """OSErrors within the block that name no file, as those of a full disk, and `errors` become OSErrors of `path`."""
    try:
        yield
    except (OSError, *errors) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        number, reason = getattr(error, "errno", None), getattr(error, "strerror", None)
        if not reason:  # libraries that do not tell of a full disk
            free = shutil.disk_usage(os.path.dirname(os.path.abspath(path))).free
            reason = f"{(str(error) or repr(error)).splitlines()[-1]} ({free / 2**20:.0f} MiB are free)"
        raise OSError(number or errno.EIO, reason, path) from error


def open_named(path, mode, name=None):
    """Binary file for writing, of whose errors `name` is the file's; by default the path."""
    return io.BufferedWriter(_NamedFile(path, mode, name or path))


class _NamedFile(io.FileIO):
    def __init__(self, path, mode, name):
        super().__init__(path, mode)
        self._shown = name

    def write(self, data):
        with naming(self._shown):
            return super().write(data)


def walk(folder, key=None, repeated=None):
    """Visit a folder and all folders below it, through links too, but none twice: links that lead back end there.

    Hidden folders are left out. Of several paths to a folder, the one nearest to the top counts, then the first.

    Args:
        folder: path.
        key: sorts the names in a folder; by default as text.
        repeated: list that gets the paths of the folders that were visited already.

    Yields:
        Path of a folder, and the sorted names of the files in it.

    Raises:
        OSError: naming the folder that cannot be read.
    """
    seen = {_identity(folder)}
    for parent, folders, names in os.walk(folder, onerror=_reraise, followlinks=True):
        paths = [os.path.join(parent, name) for name in sorted(folders, key=key) if not name.startswith(".")]
        folders.clear()
        for path in paths:
            identity = _identity(path)
            if identity not in seen:
                seen.add(identity)
                folders.append(os.path.basename(path))
            elif repeated is not None:
                repeated.append(path)
        yield parent, sorted(names, key=key)


def _identity(path):
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _reraise(error):
    raise error


def sync(path):
    """Have a file, or the names in a folder, on the disk before this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
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
