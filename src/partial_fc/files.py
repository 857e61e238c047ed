"""Reading, writing, hashing and listing files: written whole or not at all, with errors that name the file."""

import contextlib
import errno
import glob
import hashlib
import io
import json
import math
import os
import shutil
import stat
from typing import Any, Callable, Iterable, Iterator, List, Optional, Tuple, Type, Union

from .errors import InputError, cause

_READ = 2**22
_MOST_JSON = 2**24  # bytes; in memory lists of small values take 20 times as much
_DIGITS = 20  # of an integer: the time to read one grows with the square of their number
_POINTER = b"version https://git-lfs.github.com/spec/"
POINTER = "a Git LFS pointer, not the file itself: `git lfs pull` downloads it"


def has_ending(path: str, *endings: str) -> bool:
    """Whether the name of a file of the user's ends in one of these, such as `.npy`, in lower or upper case."""
    return path.lower().endswith(endings)


@contextlib.contextmanager
def atomic_path(path: str, synced: bool = True) -> Iterator[str]:
    """Context that gives a temporary path beside `path`: renamed to it when the block ends, removed when it fails.

    OSErrors of the block that name no file get the name `path`, see `naming`.

    Args:
        path: final path of the file.
        synced: whether the content is synced to the disk before the file gets its name.
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


def remove_unfinished(folder: str, pattern: str) -> None:
    """Remove the temporary files that killed processes have left in the place of files, see `atomic_path`.

    Args:
        folder: of the files; the caller holds its lock, as another process may be writing to them.
        pattern: of the files' names, as `glob` takes it.

    Raises:
        OSError: one of them cannot be removed; the error names it.
    """
    for path in glob.glob(os.path.join(glob.escape(folder), f".{pattern}.[0-9]*.tmp")):
        with contextlib.suppress(FileNotFoundError):  # another host removes the same files
            os.remove(path)


@contextlib.contextmanager
def naming(path: str, *errors: Type[Exception]) -> Iterator[None]:
    """Context that turns OSErrors without a file name, such as those of a full disk, into OSErrors that name `path`.

    Args:
        path: of the file.
        errors: further types of exceptions to turn into such OSErrors.
    """
    kinds: Tuple[Type[Exception], ...] = (OSError, *errors)
    try:
        yield
    except kinds as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        number, reason = getattr(error, "errno", None), getattr(error, "strerror", None)
        if not reason:  # from a library that does not say when a disk is full
            free = shutil.disk_usage(os.path.dirname(os.path.abspath(path))).free
            reason = f"{cause(error)} ({free / 2**20:.0f} MiB are free)"
        raise OSError(number or errno.EIO, reason, path) from error


def open_named(path: str, mode: str, name: Optional[str] = None) -> io.BufferedWriter:
    """Open a binary file for writing; OSErrors raised by it carry `name`, by default the path."""
    return io.BufferedWriter(_NamedFile(path, mode, name or path))


class _NamedFile(io.FileIO):
    def __init__(self, path, mode, name):
        super().__init__(path, mode)
        self._shown = name

    def write(self, data):
        with naming(self._shown):
            return super().write(data)


def read_file(path: str, most: int) -> bytes:
    """Content of a plain file.

    Raises:
        InputError: the file has more than `most` bytes; the message names it.
        OSError: it cannot be read, or is a pipe or a device, which might never end; the error names it.
    """
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a plain file", path)
        content = file.read(min(status.st_size, most) + 1)  # Python asks for as much memory before it reads
    if len(content) > most:
        raise InputError(f"{path}: more than {most:,} bytes, the limit for such a file")
    return content


def walk(
    folder: str, key: Optional[Callable[[str], Any]] = None, repeated: Optional[List[str]] = None
) -> Iterator[Tuple[str, List[str]]]:
    """Visit a folder and all folders below it, also through links, each folder once.

    Hidden folders are skipped. Of several paths to a folder, the one nearest to the top is taken, then the first.

    Args:
        folder: path.
        key: sort key of the names in a folder; by default they are sorted as text.
        repeated: list to which the paths of folders that were visited before are added.

    Yields:
        (path of a folder, sorted names of the files in it).

    Raises:
        OSError: a folder cannot be read; the error names it.
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


def sync(path: str) -> None:
    """Sync a file, or the names in a folder, to the disk; raises OSError naming it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_pointer(start: bytes) -> bool:
    """Whether a file that begins with `start` is a Git LFS pointer: its content has not been downloaded."""
    return start.startswith(_POINTER)


def refuse_pointer(path: str) -> None:
    """Raise InputError naming the file if it is a Git LFS pointer; a file that cannot be read passes."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if is_pointer(file.read(len(_POINTER))):
            raise InputError(f"{path}: {POINTER}")


def read_json(path: str, most: int = _MOST_JSON) -> Any:
    """Value of a JSON file.

    Args:
        path: of the file.
        most: its largest size in bytes.

    Raises:
        InputError: the file cannot be read, is larger, or is not JSON (see `parse_json`); the message names it.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise InputError(f"{path}: more than {most:,} bytes, the limit for JSON")
    try:
        return parse_json(content)
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error


def write_json(path: str, value: Any) -> None:
    """Write a file of JSON, whole or not at all; raises OSError naming it."""
    with atomic_path(path) as unfinished, open(unfinished, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def parse_json(text: Union[str, bytes]) -> Any:
    """Value of JSON, all of whose numbers are finite.

    Raises:
        ValueError: it is anything else, such as `NaN`; or it is nested too deep, or has an integer of more than 20
            digits or a number that is too large for a float.
    """
    try:
        return json.loads(text, parse_int=_whole_number, parse_float=_finite_number, parse_constant=_finite_number)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _whole_number(digits):
    if len(digits) > _DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite_number(digits):
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits:.40} is not a finite number")
    return value


def file_digest(path: str, digest: Any, advance: Optional[Callable[[int], object]] = None) -> str:
    """Add the content of a file to a hash.

    Args:
        path: of the file.
        digest: object of hashlib, such as `hashlib.md5()`; what it has hashed before counts too.
        advance: called with the number of bytes of each step, to show progress.

    Returns:
        The hash of all that was added, hexadecimal.
    """
    with open(path, "rb", buffering=0) as file:
        for block in iter(lambda: file.read(_READ), b""):
            digest.update(block)
            if advance is not None:
                advance(len(block))
    return digest.hexdigest()


def sha256(path: str) -> str:
    """SHA-256 of a file, hexadecimal."""
    return file_digest(path, hashlib.sha256())


def lines_digest(lines: Iterable[str]) -> str:
    """SHA-256, in hexadecimal, of lines of text; they may hold names of files that are not UTF-8."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def file_state(path: str) -> str:
    """Length and time of the last change of a file; raises InputError naming it."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return f"{status.st_size} {status.st_mtime_ns}"
