"""Ranges of record numbers: each identity has a record with the range of its images, record 0 that of these records.

They are float32, which rounds integers from 2^24 on: rounded ranges are corrected by reading the records they name.
"""

from typing import List, Optional, Protocol, Tuple

import numpy as np

from ...errors import InputError
from .recordio import EXACT, MAGIC, Record

_AT_ONCE = 2**20  # identities
_FLAG, _START, _END = 2, 8, 9  # places in an identity's record, in words of 4 bytes
_NUM_WORDS = 10
_RANGES_LOOKED_AT = 64
_SHORTEST_OBJECT_LABEL = 7  # lengths of header and object; class and edges of one object


class Records(Protocol):
    """What is read of a `RecordFile`; see there."""

    path: str
    index_path: str
    keys: np.ndarray
    positions: np.ndarray
    ranges: Optional[range]

    def has(self, key: int) -> bool:
        """Whether a record number is in the index."""

    def read(self, key: int) -> Tuple[bytes, int]:
        """Encoded image and identity of a record number."""

    def read_record(self, key: int) -> Record:
        """The record of a number."""

    def words(self) -> np.ndarray:
        """The file as uint32."""


def identity_ranges(records: Records) -> Optional[range]:
    """Numbers of the records that hold the identities' ranges; None for a plain file of images.

    A record with an image is an image, however many numbers its label has: im2rec writes such labels too.

    Raises:
        InputError: record 0 cannot be read, or holds neither an image nor a range.
    """
    positions = records.positions
    if not len(positions) or not records.has(0):
        return None
    try:
        record = records.read_record(0)
    except InputError:
        if _is_image_at(records, len(positions) - 1):
            return None  # ranges would follow all images
        raise
    if _is_image(record):
        return None
    label = np.atleast_1d(record.label)
    if len(label) != 2 or not np.isfinite(label).all() or not 0 < label[0] <= label[1]:
        held = f"the numbers {label[0]:g} and {label[1]:g}" if len(label) == 2 else f"a label of length {len(label)}"
        raise InputError(
            f"{records.path}: record 0 has no image and {held}, expected the range of the identities' records"
        )
    start, stop = (int(edge) for edge in label)
    # A rounded number is off by at most half the distance between two float32.
    doubt = [_doubt(edge) for edge in label]
    if abs(stop - len(positions)) <= doubt[1]:
        stop = len(positions)
    if stop > len(positions):
        raise InputError(
            f"{records.path}: record 0 says that the last record is {stop - 1}, but the last in {records.index_path} "
            f"is {len(positions) - 1}: one of the files is damaged or belongs to another data set"
        )
    if doubt[0]:
        start = _first_range(records, start, doubt[0])
    return range(start, stop)


def refuse_detection(records: Records) -> None:
    """Raise InputError if a plain file has labels for object detection, as MXNet's ImageDetIter reads them.

    Such a label begins with the lengths of its header and of an object, which must not be taken for an identity. Only
    the first and the last image are examined.
    """
    forms = [_object_lengths(records, int(key)) for key in records.keys[[0, -1]]]
    if forms[0] and forms[0] == forms[1]:
        raise InputError(
            f"{records.path}: its labels are for object detection (a header of {forms[0][0]} numbers and "
            f"{forms[0][1]} numbers per object): expected one identity per image"
        )


def _object_lengths(records, key):
    """Lengths of header and object in the label of a record for detection; None for other records."""
    try:
        label = records.read_record(key).label
    except InputError:  # raised when the record is used
        return None
    if isinstance(label, float) or len(label) < _SHORTEST_OBJECT_LABEL:
        return None
    header, width = label[:2].tolist()
    fits = header >= 2 and width >= 5 and header.is_integer() and width.is_integer()
    return (int(header), int(width)) if fits and len(label) > header and (len(label) - header) % width == 0 else None


def identities_in_runs(records: Records) -> Optional[int]:
    """Number of identities of a file that lists a range for each run of images of one label; None for other files.

    InsightFace's old tool packs an unsorted list like this. Some ranges are examined, and all of them only if an image
    at the start of one of these has another label than expected.
    """
    count = len(records.ranges or ())
    places = np.linspace(0, count - 1, min(count, _RANGES_LOOKED_AT)).astype(np.int64)
    if all(label == place for place, _, label in _first_images(records, places)):
        return None
    label_of = {key: label for _, key, label in _first_images(records, np.arange(count))}
    found = len(set(label_of.values()))
    return found if found < len(label_of) else None


def runs_text(records: Records, found: int) -> str:
    """Warning about a file whose `identities_in_runs` are `found`."""
    return (
        f"record 0 lists {len(records.ranges or ())} identities, but the images have {found}: the list was not sorted "
        "by identity when it was packed, and each run of images of one label became an identity of its own; "
        "`partial-fc data merge` of this data set alone writes one with one range per identity"
    )


def _first_images(records, identities):
    """Yield (identity, record number, label) of the first image of each range; damaged ones are skipped."""
    for identity in identities.tolist():
        try:
            first, end = records.read_record(records.ranges.start + identity).label
            if first < end <= EXACT:  # larger numbers are rounded
                yield identity, int(first), records.read(int(first))[1]
        except (InputError, TypeError, ValueError, OverflowError):  # `check` reports it
            continue


def end_of_images(records: Records) -> int:
    """Record number after the last image, record 0 aside; 0 if there is none."""
    last = (key for key in range(len(records.positions) - 1, 0, -1) if _is_image_at(records, key))
    return next(last, -1) + 1


def empty_identities(records: Records) -> np.ndarray:
    """Identities without images according to their ranges, (n,) int64; none of a plain file.

    Identities whose range cannot be read are not among them. Images are read only where a range is rounded.
    """
    if not records.ranges:
        return np.zeros(0, np.int64)
    words = records.words()
    found: List[int] = []
    for start in range(0, len(records.ranges), _AT_ONCE):
        part = slice(records.ranges.start + start, min(records.ranges.start + start + _AT_ONCE, records.ranges.stop))
        places = records.positions[part] // 4
        whole = (places >= 0) & (places <= len(words) - _NUM_WORDS)
        places = np.where(whole, places, 0)
        if not whole.any():
            continue
        first, end = words[places + _START].view("<f4"), words[places + _END].view("<f4")
        same = whole & (words[places] == MAGIC) & (words[places + _FLAG] == 2) & (first == end) & np.isfinite(first)
        found += [
            start + index
            for index in np.flatnonzero(same).tolist()
            if first[index] < EXACT or not _has_image(records, start + index, float(first[index]))
        ]
    return np.array(found, np.int64)


def _has_image(records, identity, near):
    """Whether an identity has an image near record `near`, a rounded number."""
    doubt = _doubt(near)
    for key in range(max(int(near) - doubt, 1), min(int(near) + doubt + 1, records.ranges.start)):
        try:
            if records.read(key)[1] == identity:
                return True
        except InputError:  # raised when the record is used
            continue
    return False


def _doubt(edge):
    return int(np.ceil(np.spacing(np.float32(edge)) / 2)) if edge >= EXACT else 0


def _first_range(records, start, doubt):
    """The first record near `start` that holds a range: its label is an array, and there is no image."""
    for key in range(start - doubt, start + doubt + 1):
        if not _is_image(records.read_record(key)):
            return key
    raise InputError(
        f"{records.path}: no identity's range near record {start}, where record 0 says that the first one is"
    )


def _is_image_at(records, key):
    try:
        return _is_image(records.read_record(key))
    except InputError:
        return False


def _is_image(record):
    return type(record.label) is float or len(record.content) > 0
