"""Folders with a record file and the files beside it: `property` and `identities.txt`."""

import contextlib
import glob
import os
from typing import Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ...distributed.lock import LOCK, Lock
from ...errors import InputError
from ...files import atomic_path, has_ending, remove_unfinished
from ...lists.names import read_names
from ...output.printable import escaped
from ..images.decoding import image_kind
from .bad_records import BadRecords
from .index import index_path
from .record_file import PROPERTY, RecordFile, read_property

RECORD_FILE, NAMES = "train.rec", "identities.txt"


class Grouped(NamedTuple):
    """Images by identity: the record numbers of identity i are `keys[edges[i]:edges[i+1]]`.

    Attributes:
        labels: of the n identities that have images, (n,) int64, ascending.
        edges: (n + 1,) int64.
        keys: record numbers, (images,) int64, those of an identity ascending.
        emptied: labels of the identities that `without` has left no images, (m,) int64, ascending.
    """

    labels: np.ndarray
    edges: np.ndarray
    keys: np.ndarray
    emptied: np.ndarray = np.empty(0, np.int64)

    def without(self, keys: np.ndarray) -> "Grouped":
        """The images except for those with the record numbers `keys`, (m,) int64; identities without any drop out."""
        kept = ~np.isin(self.keys, keys)
        counts = np.add.reduceat(kept, self.edges[:-1], dtype=np.int64)
        edges = np.append(0, np.cumsum(counts[counts > 0]))
        return Grouped(self.labels[counts > 0], edges, self.keys[kept], self.labels[counts == 0])


class DataSet:
    """A record file, with the size of its images and, where there is a list, the names of its identities.

    Args:
        source: folder with `train.rec` and `train.idx`, or path of a `.rec` file.
        tolerant: see RecordFile.

    Attributes:
        records: the record file.
        folder: that it is in.

    Raises:
        InputError: as RecordFile.
    """

    def __init__(self, source: str, tolerant: bool = False) -> None:
        path = record_path(source)
        self.folder = os.path.dirname(os.path.abspath(path))
        self.records = RecordFile(path, tolerant)

    def property(self) -> Optional[Tuple[int, int, int]]:
        """(identities, height, width) of the file `property`, see `read_property`."""
        return read_property(self.folder)

    def image_size(self) -> Tuple[int, int]:
        """(height, width) in pixels, of `property`, else of the first image that can be read.

        Raises:
            InputError: there is neither.
        """
        stated = self.property()
        size = stated[1:] if stated else self.first_size()
        if size is None:
            raise InputError(
                f"{self.records.path}: no record is an image whose size can be read: write IDENTITIES,HEIGHT,WIDTH "
                f"into {os.path.join(self.folder, PROPERTY)}"
            )
        return size

    def first_size(self) -> Optional[Tuple[int, int]]:
        """(height, width) of the first image whose header can be read; None if there is none."""
        for key in self.records.keys.tolist():
            try:
                return image_kind(self.records.read_record(key).content).size
            except ValueError:  # InputError among them: raised when the record is used
                continue
        return None

    def names(self) -> Optional[List[str]]:
        """Lines of `identities.txt`, the name of each label; None if there is no such file.

        Raises:
            InputError: see `read_names`.
        """
        path = os.path.join(self.folder, NAMES)
        return read_names(path) if os.path.lexists(path) else None

    def names_of(self, labels: Sequence[int]) -> List[str]:
        """Names of `labels`, or the labels themselves as text where there is no `identities.txt`.

        Raises:
            InputError: `identities.txt` has fewer lines.
        """
        names = self.names()
        if names is None:
            return [str(label) for label in labels]
        if len(labels) and max(labels) >= len(names):
            raise InputError(
                f"{os.path.join(self.folder, NAMES)}: {len(names)} names, but there is an identity {max(labels)}: "
                "a line is missing, or it belongs to another data set; remove the file to use labels as names"
            )
        return [names[label] for label in labels]

    def grouped(self, bad: Optional[BadRecords] = None) -> Grouped:
        """The images by identity.

        Args:
            bad: counts the records that cannot be read, which are skipped; None: they are errors.

        Raises:
            InputError: a record cannot be read, or none can.
        """
        labels = self.records.labels(bad)
        order = np.argsort(labels, kind="stable")
        order = order[np.count_nonzero(labels < 0) :]
        labels = labels[order]
        if not len(labels):
            raise InputError(f"{self.records.path}: none of its records can be read")
        starts = np.flatnonzero(np.diff(labels, prepend=-1))
        return Grouped(labels[starts], np.append(starts, len(labels)), self.records.keys[order])


def record_path(source: str) -> str:
    """Path of the record file that `source` means: its folder, or that path itself."""
    return source if has_ending(source, ".rec") and not os.path.isdir(source) else os.path.join(source, RECORD_FILE)


@contextlib.contextmanager
def prepared_output(
    out: str, sources: Sequence[DataSet], overwrite: bool, names: Sequence[str] = (RECORD_FILE,)
) -> Iterator[str]:
    """Context that locks the folder `out`, made where missing, to write files to; gives the path of its record file.

    What a killed program has left of these files, which may be many gigabytes, is removed first.

    Args:
        out: the folder.
        sources: data sets that the files are made of.
        overwrite: whether files may be replaced.
        names: of the files that will be written.

    Raises:
        InputError: `out` is the folder of a source, holds one of the files, cannot be made, or another program is
            writing to it.
    """
    check_output(out, sources, overwrite, names)
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made: {error.strerror}") from error
    with Lock(os.path.join(out, LOCK)):
        check_output(out, sources, overwrite, names)
        for name in {*names, RECORD_FILE, index_path(RECORD_FILE), PROPERTY, NAMES}:
            remove_unfinished(out, glob.escape(name))
        yield os.path.join(out, RECORD_FILE)


def check_output(out: str, sources: Sequence[DataSet], overwrite: bool, names: Sequence[str]) -> None:
    """Raise InputError if `out` is the folder of a source, or holds one of the files and none may be replaced."""
    for source in sources:
        if os.path.realpath(out) == os.path.realpath(source.folder):
            raise InputError(f"{out} is the folder of a source: choose another folder for the output")
    for path in (os.path.join(out, name) for name in names):
        if os.path.exists(path) and not overwrite:
            raise InputError(f"{path} exists: --overwrite replaces it")


def write_notes(out: str, num_identities: int, size: Sequence[int], names: Optional[Sequence[str]]) -> None:
    """Write `property`, of the number of identities and (height, width), and `identities.txt`.

    With None for the names an existing `identities.txt` is removed. Raises OSError naming the file.
    """
    write_lines(os.path.join(out, PROPERTY), [f"{num_identities},{size[0]},{size[1]}"])
    path = os.path.join(out, NAMES)
    if names is not None:
        write_lines(path, names)
    elif os.path.exists(path):
        os.remove(path)


def write_reasons(path: str, reasons: Iterable[Tuple[str, str]]) -> None:
    """Write a line for each (name, reason), separated by a tab and escaped by `printable.escaped`."""
    write_lines(path, ["\t".join(map(escaped, f"{name}\t{reason}".split("\t"))) for name, reason in reasons])


def write_lines(path: str, lines: Iterable[str]) -> None:
    """Write a file of lines; they may hold names of files that are not UTF-8. Raises OSError naming it."""
    with atomic_path(path) as unfinished:
        with open(unfinished, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
