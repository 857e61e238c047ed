"""Files in which users list identities: those to leave out, those to hold out."""

import re

import numpy as np

from ..errors import InputError


def read_leave_out(path, groups):
    """Identities in a file of lines `SOURCE LABEL`, the source counted from 1; blank lines and # comments are skipped.

    Args:
        path: of the file.
        groups: Grouped of each source.

    Returns:
        List of (source, counted from 0, and index of the identity in its Grouped).

    Raises:
        InputError: with the line's number, where it is something else, or no identity of that source.
    """
    found = []
    for where, line in _lines(path):
        match = re.fullmatch(r"([0-9]{1,18})\s+([0-9]{1,18})", line)
        if not match:
            raise InputError(f"{where}: expected SOURCE LABEL, two whole numbers, got {line!r}")
        source, label = (int(number) for number in match.groups())
        if not 1 <= source <= len(groups):
            raise InputError(f"{where}: there is no source {source}, they are counted from 1 to {len(groups)}")
        index = _index_of(groups[source - 1].labels, label)
        if index is None:
            raise InputError(f"{where}: source {source} has no images of label {label}")
        found.append((source - 1, index))
    return found


def read_identities(path, data_set, grouped):
    """Identities in a file with a line for each: its name in `identities.txt`, or else its label.

    A name counts for all the identities that have it. Blank lines are skipped.

    Args:
        path: of the file.
        data_set: DataSet.
        grouped: its Grouped.

    Returns:
        (n,) bool, whether each identity of `grouped` is in it.

    Raises:
        InputError: with the line's number, where it is no identity with images.
    """
    labels_of = {}
    for label, name in enumerate(data_set.names() or []):
        labels_of.setdefault(name, []).append(label)
    held = np.zeros(len(grouped.labels), bool)
    for where, line in _lines(path, comments=False):  # a name may begin with #
        labels = labels_of.get(line) or ([int(line)] if re.fullmatch("[0-9]{1,18}", line) else [])
        indices = [_index_of(grouped.labels, label) for label in labels]
        if not indices or None in indices:
            raise InputError(f"{where}: {line!r} is neither the name nor the label of an identity with images")
        held[indices] = True
    return held


def _index_of(labels, label):
    """Where `label` is in the ascending array `labels`, or None."""
    index = int(np.searchsorted(labels, label))
    return index if index < len(labels) and labels[index] == label else None


def _lines(path, comments=True):
    """(path and number for messages, text) of the lines of a file that are not blank."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                line = (line.partition("#")[0] if comments else line).strip()
                if line:
                    yield f"{path}, line {number}", line
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
