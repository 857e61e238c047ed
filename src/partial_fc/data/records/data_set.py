"""Folders of a record file and of what may stand beside it: `property` and `identities.txt`."""

import contextlib
import os
from typing import Iterable, NamedTuple, Tuple

import numpy as np

from ...distributed.lock import LOCK, Lock
from ...errors import InputError
from ...files import atomic_path
from ...lists.names import read_names
from ...output.printable import escaped
from ..images.decoding import image_kind
from .record_file import PROPERTY, RecordFile, read_property

RECORD_FILE, NAMES = "train.rec", "identities.txt"


class Grouped(NamedTuple):
    """Images by identity: `labels` (n,) int64, ascending; identity i's record numbers are `keys[edges[i]:edges[i+1]]`.

    keys: (images,) int64, those of an identity ascending; edges: (n + 1,) int64.
    """

    labels: np.ndarray
    edges: np.ndarray
    keys: np.ndarray


class DataSet:
    """A record file, and where it has them, the names of its identities and the size of its images.

    Args:
        source: folder with `train.rec` and `train.idx`, or path of a `.rec` file.
        tolerant: see RecordFile.

    Attributes:
        records: RecordFile.
        folder: of the record file.

    Raises:
        InputError: as RecordFile.
    """

    def __init__(self, source, tolerant=False):
        path = record_path(source)
        self.folder = os.path.dirname(os.path.abspath(path))
        self.records = RecordFile(path, tolerant)

    def property(self):
        """(identities, height, width) of the file `property`, see `read_property`."""
        return read_property(self.folder)

    def image_size(self):
        """(height, width): that of `property`, else of the first image that can be read.

        Raises:
            InputError: none does.
        """
        told = self.property()
        size = told[1:] if told else self.first_size()
        if size is None:
            raise InputError(
                f"{self.records.path}: no record is an image that tells its size: write IDENTITIES,HEIGHT,WIDTH into "
                f"{os.path.join(self.folder, PROPERTY)}"
            )
        return size

    def first_size(self):
        """(height, width) of the first image of which it can be read, or None."""
        for key in self.records.keys.tolist():
            try:
                return image_kind(self.records.read_record(key).content).size
            except ValueError:  # InputError among them: raised when its turn comes
                continue
        return None

    def names(self):
        """Lines of `identities.txt`, the name of each label; None without it.

        Raises:
            InputError: see `read_names`.
        """
        path = os.path.join(self.folder, NAMES)
        return read_names(path) if os.path.lexists(path) else None

    def names_of(self, labels):
        """Names of `labels` (ints), or the labels themselves as text where there is no `identities.txt`.

        Raises:
            InputError: `identities.txt` has fewer lines.
        """
        names = self.names()
        if names is None:
            return [str(label) for label in labels]
        if len(labels) and max(labels) >= len(names):
            raise InputError(
                f"{os.path.join(self.folder, NAMES)}: {len(names)} names, but there is an identity {max(labels)}: "
                "a line is missing, or it is of another data set; remove it to go on without names"
            )
        return [names[label] for label in labels]

    def grouped(self, bad=None):
        """The images as Grouped.

        Args:
            bad: BadRecords, which may skip those that cannot be read.

        Raises:
            InputError: a label that is no identity, nothing left.
        """
        labels = self.records.labels(bad)
        order = np.argsort(labels, kind="stable")
        order = order[np.count_nonzero(labels < 0) :]
        labels = labels[order]
        if not len(labels):
            raise InputError(f"{self.records.path}: not one record can be read")
        starts = np.flatnonzero(np.diff(labels, prepend=-1))
        return Grouped(labels[starts], np.append(starts, len(labels)), self.records.keys[order])


def record_path(source):
    """Path of the record file that `source`, a folder or that path itself, means."""
    return source if source.endswith(".rec") and not os.path.isdir(source) else os.path.join(source, RECORD_FILE)


@contextlib.contextmanager
def prepared_output(out, sources, overwrite, names=(RECORD_FILE,)):
    """Context in which the folder `out` is for files made of the DataSets `sources`; gives its record file's path.

    `names` are those of the files that `overwrite` lets replace.

    Raises:
        InputError: it is a source's folder, has a data set that is not to be replaced, cannot be made, or another
            program writes to it.
    """
    for source in sources:
        if os.path.realpath(out) == os.path.realpath(source.folder):
            raise InputError(f"{out} is the folder of a source: choose another to write to")
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made: {error.strerror}") from error
    with Lock(os.path.join(out, LOCK)):
        for path in (os.path.join(out, name) for name in names):
            if os.path.exists(path) and not overwrite:
                raise InputError(f"{path} exists: --overwrite replaces it")
        yield os.path.join(out, RECORD_FILE)


def write_notes(out, num_identities, size, names):
    """Write `property`, and `identities.txt` of the names (list of str); None removes one that was there."""
    write_lines(os.path.join(out, PROPERTY), [f"{num_identities},{size[0]},{size[1]}"])
    path = os.path.join(out, NAMES)
    if names is not None:
        write_lines(path, names)
    elif os.path.exists(path):
        os.remove(path)


def write_reasons(path: str, reasons: Iterable[Tuple[str, str]]) -> None:
    """Write a list for people: of each (name, reason) a line with a tab between, as `printable.escaped` escapes it."""
    write_lines(path, ["\t".join(map(escaped, f"{name}\t{reason}".split("\t"))) for name, reason in reasons])


def write_lines(path, lines):
    """Write a file of lines (str), names of files among them, which need not be UTF-8."""
    with atomic_path(path) as unfinished:
        with open(unfinished, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
