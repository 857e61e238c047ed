"""Journals of long work: what is finished so far, so that a run that was killed continues from there."""

import json
import os
from typing import Any, Iterator, Tuple

from ..files import naming, open_named, parse_json

_LONGEST_LINE = 2**24  # bytes


def read_journal(path: str) -> Iterator[Tuple[Any, int]]:
    """Yield the entries of a journal; nothing where there is no file.

    Args:
        path: of the file, JSON lines. It is read up to the first line that is not whole, as a killed run leaves it.

    Yields:
        (entry, position after its line, in bytes).

    Raises:
        OSError: naming the file, if it cannot be read.
    """
    if not os.path.exists(path):
        return
    end = 0
    with open(path, "rb") as file:
        for line in iter(lambda: file.readline(_LONGEST_LINE), b""):
            try:
                entry = parse_json(line)
            except ValueError:
                return
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield entry, end


class Journal:
    """A journal to add to.

    By convention the first entry holds the arguments of the work: a journal of other arguments is not continued.

    Args:
        path: of the file, made where missing.
        end: position after the last entry to keep, see `read_journal`; what follows is cut off.

    Raises:
        OSError: naming the file, if it cannot be written.
    """

    def __init__(self, path: str, end: int = 0) -> None:
        self._file = open_named(path, "ab")
        os.truncate(path, end)

    def add(self, entry: Any, synced: bool = False) -> None:
        """Add an entry, anything that JSON holds; what it says is finished must be in its file before.

        Args:
            entry: value.
            synced: whether it is on the disk when this returns, and visible to other hosts; else the system has it,
                and it survives the end of the program, but not that of the machine.

        Raises:
            OSError: naming the file, if it cannot be written.
        """
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        if synced:
            with naming(self._file.name):
                os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
