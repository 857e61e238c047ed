"""Files and terminals for log and measurements. A failure to write is logged once, and its end once."""

import contextlib
import io
import logging
import os
import shutil
import sys
from typing import Iterator, Optional

from tqdm import tqdm

from ..files import atomic_path
from .printable import PrintableFormatter, encodable

log = logging.getLogger("partial_fc")

_KEPT = 2**24  # bytes that are kept while a disk is full


class Attempts:
    """Attempts to write something, whose failure does not end the program.

    Args:
        what: name of what is written, for the log.
    """

    def __init__(self, what: str) -> None:
        self._what, self._failing = what, False

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Context that writes. OSErrors in it are caught; the first is logged, and then the first success."""
        try:
            yield
        except OSError as error:
            if not self._failing:
                self._failing = True  # before it is logged, since the log may come here, too
                log.error("could not write %s: %s; the program continues", self._what, error.strerror or error)
        else:
            if self._failing:
                self._failing = False
                log.warning("writing again: %s", self._what)


class AppendedFile:
    """A file to append to. It loses nothing while its disk is full, and is restored with its content if it is removed.

    Up to 16 MiB that cannot be written are kept, and tried again with the next bytes; see `Attempts`.

    Args:
        path: of the file, in an existing folder.
        head: first bytes of a new file.

    Raises:
        OSError: the file cannot be opened now; later errors are logged.
    """

    def __init__(self, path: str, head: bytes = b"") -> None:
        self._path = os.path.abspath(path)  # a program may change folders
        self._head, self._waiting = head, b""
        self._attempts = Attempts(path)
        self._file = self._open()

    def write(self, data: bytes) -> None:
        """Append bytes, unbuffered."""
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

    def _follow(self) -> None:
        """Open the file again if it was removed or replaced; a removed one gets its content back."""
        if self._file.closed or self._is_gone():
            if not self._file.closed and not os.fstat(self._file.fileno()).st_nlink:  # removed, not moved away
                self._restore()
            self._file.close()
            self._file = self._open()

    def _restore(self) -> None:
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        self._file.seek(0)
        with atomic_path(self._path) as unfinished, open(unfinished, "wb") as copy:
            shutil.copyfileobj(self._file, copy)

    def _open(self) -> io.FileIO:
        file = open(self._path, "ab+", buffering=0)
        if not file.tell() and not self._waiting.startswith(self._head):
            self._waiting = self._head + self._waiting
        return file

    def _is_gone(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return True


class LogFile(logging.Handler):
    """A handler that appends to a file.

    Args:
        path: of the file; see `AppendedFile`, also for errors.
        form: format of the lines, see `logging.Formatter`.
    """

    def __init__(self, path: str, form: Optional[str] = None) -> None:
        super().__init__()
        self.setFormatter(PrintableFormatter(form, "%Y-%m-%d %H:%M:%S"))
        self._file = AppendedFile(path)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a log record."""
        try:
            self._file.write(f"{self.format(record)}\n".encode())
        except Exception:  # as in logging: no record ends the program
            self.handleError(record)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class Console(logging.Handler):
    """A handler that writes above the progress bars of tqdm.

    Args:
        stream: `stdout` or `stderr`, looked up in `sys` for each record.
        form: format of the lines, see `logging.Formatter`.
    """

    def __init__(self, stream: str, form: Optional[str] = None) -> None:
        super().__init__()
        self.setFormatter(PrintableFormatter(form, "%H:%M:%S"))
        self._stream, self._attempts = stream, Attempts(f"the log on {stream}")

    def emit(self, record: logging.LogRecord) -> None:
        """Write a log record."""
        try:
            stream = getattr(sys, self._stream)
            text = encodable(self.format(record), stream)
            with self._attempts.attempt():
                tqdm.write(text, file=stream)
                stream.flush()
        except Exception:  # as in logging: no record ends the program
            self.handleError(record)
