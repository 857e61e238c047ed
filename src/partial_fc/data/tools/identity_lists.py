"""Lists of identities that users write: those to leave out, those to hold out."""

from typing import Dict, List, Sequence, Tuple

import numpy as np

from ...errors import InputError
from ...lists.names import Names
from ...lists.text import shown_text, text_lines, whole_numbers
from ..records.data_set import DataSet, Grouped


def read_leave_out(path: str, groups: Sequence[Grouped]) -> List[Tuple[int, int]]:
    """Identities in a file of lines `SOURCE LABEL`, the source counted from 1; blank lines and # comments are skipped.

    Args:
        path: of the file.
        groups: images by identity of each source.

    Returns:
        (source, counted from 0, index of the identity in its group) of each line.

    Raises:
        InputError: a line has another form, or the source has no such identity; the message names the line.
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
            raise InputError(f"{where}: there is no source {source}, sources are counted from 1 to {len(groups)}")
        index = _index_of(groups[source - 1].labels, label)
        if index is None:
            raise InputError(f"{where}: source {source} has no images of label {label}")
        found.append((source - 1, index))
    return found


def read_identities(path: str, data_set: DataSet, grouped: Grouped) -> np.ndarray:
    """Identities in a file with one per line: its name in `identities.txt`, or else its label.

    A name stands for all identities that have it. Blank lines are skipped.

    Args:
        path: of the file.
        data_set: the data set.
        grouped: its images by identity.

    Returns:
        For each identity of `grouped` whether the file lists it, (n,) bool.

    Raises:
        InputError: a line is not an identity with images; the message names the line.
    """
    labels_of: Dict[str, List[int]] = {}
    for label, known in enumerate(data_set.names() or []):
        labels_of.setdefault(known, []).append(label)
    names, held = Names(labels_of), np.zeros(len(grouped.labels), bool)
    for number, line in text_lines(path):
        name = names.find(line) or names.find(line.strip())
        labels = labels_of[name] if name else _label(line)
        indices = [_index_of(grouped.labels, label) for label in labels]
        if not indices or None in indices:
            raise InputError(
                f"{path}, line {number}: {shown_text(line.strip())} is neither the name nor the label of an identity "
                "with images"
            )
        held[indices] = True
    return held


def _label(line):
    """List of the label in a line; empty if it is not a label."""
    try:
        return whole_numbers([line.strip()])
    except ValueError:
        return []


def _index_of(labels, label):
    """Index of `label` in the ascending array `labels`, or None."""
    index = int(np.searchsorted(labels, label))
    return index if index < len(labels) and labels[index] == label else None
