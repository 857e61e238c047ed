"""The part of `check` that examines the file around the images: ranges of identities, records outside of the index."""

import mmap
import os
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from ...errors import InputError
from ..records.index import LACKING
from ..records.record_file import RecordFile
from ..records.recordio import EXACT, read_record, walk

_AT_ONCE = 2**20
_RANGE, _INDEX = "identity range", "not in the index"
ERROR, NOTE = "error", "note"
SHOWN = 10


class Findings:
    """Counts findings by kind and keeps the first few of each as examples."""

    def __init__(self) -> None:
        self._kinds: Dict[str, Dict[str, Any]] = {}

    def add(
        self, kind: str, record: Optional[int], message: Optional[str], severity: str = ERROR, count: int = 1
    ) -> None:
        """Count a finding.

        Args:
            kind: of the finding.
            record: number of the record; None if it is not about one.
            message: of the example; None if only the count matters.
            severity: ERROR or NOTE, the same for all findings of a kind.
            count: how many findings to count.
        """
        found = self._kinds.setdefault(kind, {"kind": kind, "severity": severity, "count": 0, "examples": []})
        found["count"] += count
        if message is not None and len(found["examples"]) < SHOWN:
            found["examples"].append({"record": None if record is None else int(record), "message": message})

    def listed(self) -> List[Dict[str, Any]]:
        """Dictionaries of `kind`, `severity`, `count` and `examples` (`record`, `message`), errors first."""
        return sorted(self._kinds.values(), key=lambda found: found["severity"] != ERROR)


def read_others(records: RecordFile, findings: Findings) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the records that are not images: record 0, those of the identities' ranges, and any after them.

    Returns:
        Numbers of the records, (m,) int64; their ranges, (m, 2) float64, nan where they have none; the positions after
        them, (m,) int64, -1 where they cannot be read.
    """
    is_image = np.zeros(len(records.positions), bool)
    is_image[records.keys] = True
    others = np.flatnonzero((records.positions != LACKING) & ~is_image)
    edges, ends = np.full((len(others), 2), np.nan), np.full(len(others), -1, np.int64)
    for index, key in enumerate(others.tolist()):
        try:
            record = records.read_record(key)
        except InputError as error:
            if key or not records.problem:  # a problem of record 0 has been reported
                findings.add("unreadable record", key, str(error)[len(f"{records.path}: ") :])
            continue
        ends[index] = record.end
        if np.shape(record.label) == (2,) and np.isfinite(record.label).all():
            edges[index] = record.label
    return others, edges, ends


def check_ranges(
    records: RecordFile, labels: np.ndarray, others: np.ndarray, edges: np.ndarray, findings: Findings
) -> None:
    """Compare the ranges in the identities' records with the labels of the images.

    Args:
        records: the record file, with ranges.
        labels: of `records.keys`, (n,) int64, -1 where unknown.
        others: numbers that `read_others` returned.
        edges: ranges that `read_others` returned.
        findings: to add to.
    """
    assert records.ranges is not None
    count = len(records.ranges)
    for key in others[others >= records.ranges.stop][:1]:
        message = f"record 0 says that the ranges end before {records.ranges.stop}, but there is a record {key}"
        findings.add(_RANGE, 0, message)
    ranges = np.full((count, 2), np.nan)
    inside = (others >= records.ranges.start) & (others < records.ranges.stop)
    ranges[others[inside] - records.ranges.start] = edges[inside]
    # numbers from 2^24 on are rounded to float32, by at most half the distance to the next one
    with np.errstate(invalid="ignore"):
        doubt = np.where(ranges >= EXACT, np.spacing(ranges.astype(np.float32)) / 2, 0)
    wrong = ~(ranges[:, 0] <= ranges[:, 1])  # nan is not <=
    for identity in np.flatnonzero(wrong):
        key = records.ranges.start + identity
        message = f"record {key}: identity {identity}: no range of record numbers, or not in the file"
        findings.add(_RANGE, key, message)
    _check_members(records.keys, labels, ranges, doubt, findings)
    _check_lengths(records, labels, ranges, doubt, wrong, findings)


def _check_members(keys, labels, ranges, doubt, findings):
    """Every image must be in the range of its identity."""
    low, high = ranges[:, 0] - doubt[:, 0], ranges[:, 1] + doubt[:, 1]
    for start in range(0, len(keys), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        known = np.flatnonzero((labels[part] >= 0) & (labels[part] < len(ranges))) + start
        identity, key = labels[known], keys[known]
        for index in known[(key < low[identity]) | (key >= high[identity])]:
            first, last = ranges[labels[index]].astype(np.int64)
            message = f"record {keys[index]} has label {labels[index]}, whose range is {first} to {last - 1}"
            findings.add(_RANGE, keys[index], message)


def _check_lengths(records, labels, ranges, doubt, wrong, findings):
    """The length of a range must be the number of images of its identity, plus those of unknown label in the range."""
    known = labels[(labels >= 0) & (labels < len(ranges))]
    images = np.bincount(known, minlength=len(ranges))
    unknown = records.keys[labels < 0]
    lost = np.searchsorted(unknown, ranges[:, 1]) - np.searchsorted(unknown, ranges[:, 0])
    off = np.abs(ranges[:, 1] - ranges[:, 0] - images - lost) > doubt.sum(axis=1)
    for identity in np.flatnonzero(off & ~wrong):
        key = records.ranges.start + identity
        first, last = ranges[identity].astype(np.int64)
        message = (
            f"record {key}: gives identity {identity} the records {first} to {last - 1}, but "
            f"{images[identity]} images have its label"
        )
        findings.add(_RANGE, key, message)


def check_gaps(records: RecordFile, keys: np.ndarray, ends: np.ndarray, findings: Findings) -> None:
    """Check that the index has all records of the file.

    Only the bytes between known records are searched.

    Args:
        records: the record file.
        keys: all record numbers of the index, (n,) int64.
        ends: position after each record, (n,) int64; -1 for those that cannot be read.
        findings: to add to.
    """
    placed = records.positions[keys] >= 0
    keys, ends = keys[placed], ends[placed]
    starts = records.positions[keys]
    order = np.argsort(starts, kind="stable")
    keys, starts, ends = keys[order], starts[order], ends[order]
    for index in np.flatnonzero(starts[1:] == starts[:-1]):
        message = f"records {keys[index]} and {keys[index + 1]} are at the same position {starts[index]}"
        findings.add("index", keys[index], message)
    size = os.path.getsize(records.path)
    reached = np.maximum.accumulate(np.append(0, ends))  # where the records before each position end
    starts = np.append(starts, size)
    gaps = np.flatnonzero(starts > reached)
    gaps = gaps[np.diff(reached[gaps], append=-1) != 0]  # of those from one place on, the longest has the others
    if len(gaps):
        with open(records.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for gap in gaps:
                _walk(file.fileno(), data, int(reached[gap]), int(starts[gap]), starts, findings)


def _walk(file, data, position, stop, known, findings):
    """Report the records from `position` to `stop`; those at positions `known` (ascending) have been reported."""
    for start, record, end in walk(file, data, position, stop, read_record):
        if known[np.searchsorted(known, start)] == start:
            continue
        if record is None:
            findings.add("no record", None, f"bytes {start} to {end - 1} are not a record")
        else:
            findings.add(_INDEX, None, f"record at byte {start}, whose header has the number {record.id}")
