"""Files and folders that appear under their name whole or not at all."""

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import stat
from typing import Any

from .errors import InputError, cause

_READ = 2**20
_MOST_JSON = 2**24  # bytes; lists of small things take 20 times as much in memory
_DIGITS = 20  # of a whole number; Python takes time with the square of their number
_POINTER = b"version https://git-lfs.github.com/spec/"
POINTER = "a pointer of Git LFS, not the file itself: `git lfs pull` downloads it"


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
        if not reason:  # libraries that do not name a full disk
            free = shutil.disk_usage(os.path.dirname(os.path.abspath(path))).free
            reason = f"{cause(error)} ({free / 2**20:.0f} MiB are free)"
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


def read_file(path: str, most: int) -> bytes:
    """Bytes of a plain file.

    Raises:
        InputError: naming the file, if it has more than `most` bytes.
        OSError: naming it, if it cannot be read; also for a pipe or a device, which might never end.
    """
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a plain file", path)
        content = file.read(min(status.st_size, most) + 1)  # Python asks for as much memory before it reads
    if len(content) > most:
        raise InputError(f"{path}: more than {most:,} bytes, the most that such a file can have")
    return content


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


def is_pointer(start):
    """Whether a file that begins with `start` (bytes) is what Git LFS leaves where it has not downloaded one."""
    return start.startswith(_POINTER)


def refuse_pointer(path):
    """Raise InputError naming a file that is a pointer of Git LFS; one that cannot be read is left to the reader."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if is_pointer(file.read(len(_POINTER))):
            raise InputError(f"{path}: {POINTER}")


def read_json(path: str, most: int = _MOST_JSON) -> Any:
    """The value in a file of JSON.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        InputError: naming the file, one that cannot be read, is too large, or is not JSON; see `parse_json`.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise InputError(f"{path}: more than {most:,} bytes of JSON are not read")
    try:
        return parse_json(content)
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error


def write_json(path: str, value: Any) -> None:
    """Write a file of JSON, whole or not at all; raises OSError naming it."""
    with atomic_path(path) as unfinished, open(unfinished, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def parse_json(text: Any) -> Any:
    """The value in JSON, str or bytes; raises ValueError for all else, nested or digits without end too."""
    try:
        return json.loads(text, parse_int=_whole_number)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _whole_number(digits):
    if len(digits) > _DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def sha256(path):
    """Checksum of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        for block in iter(lambda: file.read(_READ), b""):
            digest.update(block)
    return digest.hexdigest()
