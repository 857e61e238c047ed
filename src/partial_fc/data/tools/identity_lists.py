"""Files in which users list identities: those to leave out, those to hold out."""

import numpy as np

from ...errors import InputError
from ...lists.names import Names
from ...lists.text import shown_text, text_lines, whole_numbers


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
    for number, line in text_lines(path):
        where, fields = f"{path}, line {number}", line.partition("#")[0].split()
        if not fields:
            continue
        try:
            source, label = whole_numbers(fields)
        except ValueError as error:
            raise InputError(f"{where}: expected SOURCE LABEL, two whole numbers, found {shown_text(line)}") from error
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
    names, held = Names(labels_of), np.zeros(len(grouped.labels), bool)
    for number, line in text_lines(path):
        name = names.find(line) or names.find(line.strip())
        indices = [_index_of(grouped.labels, label) for label in labels_of.get(name) or _label(line)]
        if not indices or None in indices:
            raise InputError(
                f"{path}, line {number}: {shown_text(line.strip())} is neither the name nor the label of an identity "
                "with images"
            )
        held[indices] = True
    return held


def _label(line):
    """The label in a line, in a list; empty where it is none."""
    try:
        return whole_numbers([line.strip()])
    except ValueError:
        return []


def _index_of(labels, label):
    """Where `label` is in the ascending array `labels`, or None."""
    index = int(np.searchsorted(labels, label))
    return index if index < len(labels) and labels[index] == label else None
