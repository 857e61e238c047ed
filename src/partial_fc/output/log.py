"""Where log and measurements go. What cannot be written is reported once, and once more when it can be again."""

import contextlib
import logging
import os
import shutil
import sys
from typing import Iterator, Optional

from tqdm import tqdm

from ..files import atomic_path
from .printable import PrintableFormatter, encodable

log = logging.getLogger("partial_fc")

_KEPT = 2**24  # bytes that wait for a disk that is full


class Attempts:
    """Attempts to write something, which go wrong without an end to the work.

    Args:
        what: is written, for the log.
    """

    def __init__(self, what: str):
        self._what, self._failing = what, False

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """A block that writes. Its OSErrors are caught: the first is reported, and then the first success."""
        try:
            yield
        except OSError as error:
            if not self._failing:
                self._failing = True  # before the report, which may come by here
                log.error("NOT WRITTEN, the work continues: %s: %s", self._what, error.strerror or error)
        else:
            if self._failing:
                self._failing = False
                log.warning("written again: %s", self._what)


class AppendedFile:
    """A file to append to, which loses nothing while its disk is full, and is made again, whole, when it was removed.

    What cannot be written is kept, 16 MiB of it, and tried again with what comes next; see `Attempts`.

    Args:
        path: of the file, in a folder that is there.
        head: bytes that a new file begins with.

    Raises:
        OSError: it cannot be opened now; later that is reported in the log.
    """

    def __init__(self, path: str, head: bytes = b""):
        self._path, self._head, self._waiting = path, head, b""
        self._attempts = Attempts(path)
        self._file = self._open()

    def write(self, data: bytes) -> None:
        """Append bytes, at once."""
        if len(self._waiting) < _KEPT:
            self._waiting += data
        with self._attempts.attempt():
            self._follow()
            while self._waiting:
                self._waiting = self._waiting[self._file.write(self._waiting) :]

    def close(self) -> None:
        """Close the file."""
        with self._attempts.attempt():
            self._follow()
        self._file.close()

    def _follow(self):
        """Open the file anew where it was removed or replaced; one that was removed gets back what it held."""
        if self._file.closed or self._is_gone():
            if not self._file.closed and not os.fstat(self._file.fileno()).st_nlink:  # removed, not moved away
                self._restore()
            self._file.close()
            self._file = self._open()

    def _restore(self):
        os.makedirs(os.path.dirname(os.path.abspath(self._path)), exist_ok=True)
        self._file.seek(0)
        with atomic_path(self._path) as unfinished, open(unfinished, "wb") as copy:
            shutil.copyfileobj(self._file, copy)

    def _open(self):
        file = open(self._path, "ab+", buffering=0)
        if not file.tell() and not self._waiting.startswith(self._head):
            self._waiting = self._head + self._waiting
        return file

    def _is_gone(self):
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return True


class LogFile(logging.Handler):
    """A handler that appends to a file.

    Args:
        path: see `AppendedFile`, errors too.
        form: of the lines, see `logging.Formatter`.
    """

    def __init__(self, path: str, form: Optional[str] = None):
        super().__init__()
        self.setFormatter(PrintableFormatter(form, "%H:%M:%S"))
        self._file = AppendedFile(path)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record of the log."""
        try:
            self._file.write(f"{self.format(record)}\n".encode())
        except Exception:  # as logging has it: no record ends the program
            self.handleError(record)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class Console(logging.Handler):
    """A handler that writes above the progress bars, not through them.

    Args:
        stream: `stdout` or `stderr`, as it is in `sys` when something is written.
        form: of the lines, see `logging.Formatter`.
    """

    def __init__(self, stream: str, form: Optional[str] = None):
        super().__init__()
        self.setFormatter(PrintableFormatter(form, "%H:%M:%S"))
        self._stream, self._attempts = stream, Attempts(f"the log on {stream}")

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record of the log."""
        try:
            stream = getattr(sys, self._stream)
            text = encodable(self.format(record), stream)
            with self._attempts.attempt():
                tqdm.write(text, file=stream)
                stream.flush()
        except Exception:  # as logging has it: no record ends the program
            self.handleError(record)
