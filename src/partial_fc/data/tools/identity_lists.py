"""Lists of identities and images that users or programs write: those to leave out, to hold out, to join."""

import logging
from collections import Counter
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from ...errors import InputError
from ...lists.names import Names
from ...lists.numbers import number_rows
from ...lists.text import shown_text, text_lines, whole_numbers
from ..records.data_set import DataSet, Grouped
from ..records.record_file import RecordFile

log = logging.getLogger("partial_fc")


def read_leave_out(path: str, groups: Sequence[Grouped]) -> List[Tuple[int, int]]:
    """Identities in a file of lines `SOURCE LABEL`, the source counted from 1; blank lines and # comments are skipped.

    Args:
        path: of the file.
        groups: images by identity of each source; identities of which all images were left out are skipped.

    Returns:
        (source, counted from 0, index of the identity in its group) of each line.

    Raises:
        InputError: a line has another form, or the source has no such identity; the message names the line.
    """
    found, emptied = [], 0
    for number, line in text_lines(path):
        where, fields = f"{path}, line {number}", line.partition("#")[0].split()
        if not fields:
            continue
        try:
            source, label = whole_numbers(fields)
        except ValueError as error:
            raise InputError(f"{where}: expected SOURCE LABEL, two whole numbers, found {shown_text(line)}") from error
        index = _known_index(groups, source, label, where)
        if index is None:
            emptied += 1
        else:
            found.append((source - 1, index))
    _log_emptied(path, emptied)
    return found


def read_identities(path: str, data_set: DataSet, grouped: Grouped) -> np.ndarray:
    """Identities in a file with one per line, in the form of `identity_lines`, or their labels.

    A name without a label stands for all identities that have it. Blank lines are skipped.

    Args:
        path: of the file.
        data_set: the data set.
        grouped: its images by identity; identities of which all images were left out are skipped.

    Returns:
        For each identity of `grouped` whether the file lists it, (n,) bool.

    Raises:
        InputError: a line is not an identity with images; the message names the line.
    """
    labels_of: Dict[str, List[int]] = {}
    for label, known in enumerate(data_set.names() or []):
        labels_of.setdefault(known, []).append(label)
    names, held, emptied = Names(labels_of), np.zeros(len(grouped.labels), bool), 0
    for number, line in text_lines(path):
        labels = _labels(line, names, labels_of)
        indices = [_index_of(grouped.labels, label) for label in labels]
        lacking = [label for label, index in zip(labels, indices) if index is None]
        if not labels or (lacking and not np.isin(lacking, grouped.emptied).all()):
            raise InputError(
                f"{path}, line {number}: {shown_text(line.strip())} is neither the name nor the label of an identity "
                "with images"
            )
        emptied += len(lacking)
        held[[index for index in indices if index is not None]] = True
    _log_emptied(path, emptied)
    return held


def identity_lines(names: Optional[Sequence[str]], labels: Iterable[int]) -> Iterator[str]:
    """Yield lines that `read_identities` takes: the name of each identity, or its label if it has no name.

    Where several identities have the name, or it has a tab, a tab and the label follow.

    Args:
        names: by label; empty or None: there are none.
        labels: of the identities.
    """
    names = names or []
    counts = Counter(names)
    for label in labels:
        name = names[label] if label < len(names) else str(label)
        yield f"{name}\t{label}" if counts[name] > 1 or "\t" in name else name


def _labels(line: str, names: Names, labels_of: Dict[str, List[int]]) -> List[int]:
    """Labels of the identities that a line means; empty if it means none."""
    name, _, last = line.rstrip().rpartition("\t")
    of_name, label = _labels_of(name, names, labels_of), _label(last)
    if label and label[0] in of_name:
        return label
    return _labels_of(line, names, labels_of) or _label(line)


def _labels_of(name: str, names: Names, labels_of: Dict[str, List[int]]) -> List[int]:
    known = names.find(name) or names.find(name.strip())
    return labels_of[known] if known else []


class JoinedIdentity(NamedTuple):
    """An identity of a source, and its new label: source, counted from 0, and place of the identity in its group."""

    new: int
    source: int
    place: int


def read_joined(path: str, groups: Sequence[Grouped]) -> List[JoinedIdentity]:
    """Identities in the order of their new labels, from a file of lines `NEW OLD`, or with several sources
    `NEW SOURCE OLD`, the source counted from 1. Identities with one new label are joined, in the order of their lines.

    Args:
        path: of the file.
        groups: images by identity of each source; identities of which all images were left out are skipped, so that
            new labels may have gaps.

    Raises:
        InputError: a line has another form, the source has no such identity, or it is listed already; the message names
            the line. New labels have a gap in the file.
    """
    several = len(groups) > 1
    what = "NEW SOURCE OLD, two labels and the number of the source" if several else "NEW OLD, two labels"
    found: List[JoinedIdentity] = []
    listed: Set[Tuple[int, int]] = set()
    labels: Set[int] = set()
    for numbers, rows in number_rows(path, 2 + several, what):
        for number, (new, *old) in zip(numbers, rows.tolist()):
            source, label = old if several else (1, *old)
            where = f"{path}, line {number}"
            index = _known_index(groups, source, label, where)
            if (source, label) in listed:
                raise InputError(f"{where}: label {label} of source {source} is listed twice")
            listed.add((source, label))
            labels.add(new)
            if index is not None:
                found.append(JoinedIdentity(new, source - 1, index))
    if not labels or max(labels) >= len(labels):
        gap = min(set(range(len(labels) + 1)) - labels)
        raise InputError(f"{path}: no line has the new label {gap}: new labels are 0, 1, 2 and so on without gaps")
    _log_emptied(path, len(listed) - len(found))
    if not found:
        raise InputError(f"{path}: all images of its identities are left out")
    return sorted(found, key=lambda joined: joined.new)


def read_images(paths: Sequence[str], records: RecordFile) -> np.ndarray:
    """Numbers of the records in lists of images: on each line a number, its label, and anything behind these.

    Args:
        paths: of the lists.
        records: the record file that they are of.

    Returns:
        (n,) int64, ascending.

    Raises:
        InputError: a line has another form, or the record has another label, the message names the line; a record
            cannot be read.
    """
    found = set()
    for path in paths:
        for number, line in text_lines(path):
            where = f"{path}, line {number}"
            try:
                key, label = whole_numbers(line.split()[:2])
            except ValueError as error:
                raise InputError(f"{where}: expected number and label of a record, found {shown_text(line)}") from error
            if _index_of(records.keys, key) is None or records.read(key)[1] != label:
                raise InputError(f"{where}: {records.path} has no record {key} with label {label}")
            found.add(key)
    return np.array(sorted(found), np.int64)


def _known_index(groups: Sequence[Grouped], source: int, label: int, where: str) -> Optional[int]:
    """Place in its group of an identity of a source, counted from 1; None if all of its images were left out.

    Raises InputError if there is no such identity.
    """
    if not 1 <= source <= len(groups):
        raise InputError(f"{where}: there is no source {source}, sources are counted from 1 to {len(groups)}")
    index = _index_of(groups[source - 1].labels, label)
    if index is None and _index_of(groups[source - 1].emptied, label) is None:
        raise InputError(f"{where}: source {source} has no images of label {label}")
    return index


def _log_emptied(path: str, count: int) -> None:
    if count:
        log.warning("%s: skipped %d identities, of which all images are left out", path, count)


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
