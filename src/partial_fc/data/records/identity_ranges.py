"""The records behind the images: one for each identity with the range of its images, and record 0 with theirs.

They are float32, which rounds whole numbers from 2^24 on: ranges beyond are put right by a look at what they mean.
"""

import numpy as np

from ...errors import InputError
from .recordio import EXACT, MAGIC

_AT_ONCE = 2**20
_FLAG, _START, _END = 2, 8, 9  # words of an identity's record
_NUM_WORDS = 10
_RANGES_LOOKED_AT = 64
_SHORTEST_OBJECT_LABEL = 7  # lengths of header and object; class and edges of one object


def identity_ranges(records):
    """Record numbers of the identities' ranges, a `range`; None for a plain file of images.

    A record with an image is an image, however many numbers its label has: im2rec writes such labels, too.

    Raises:
        InputError: record 0 cannot be read or holds something else.
    """
    positions = records.positions
    if not len(positions) or not records.has(0):
        return None
    try:
        record = records.read_record(0)
    except InputError:
        if _is_image_at(records, len(positions) - 1):
            return None  # the ranges would be behind all images
        raise
    if _is_image(record):
        return None
    label = record.label
    if len(label) != 2 or not np.isfinite(label).all() or not 0 < label[0] <= label[1]:
        held = f"the numbers {label[0]:g} and {label[1]:g}" if len(label) == 2 else f"a label of length {len(label)}"
        raise InputError(f"{records.path}: record 0 has no image and {held}, expected the range of identities")
    start, stop = (int(edge) for edge in label)
    # Rounded, they are off by at most half the distance between two float32s.
    doubt = [_doubt(edge) for edge in label]
    if abs(stop - len(positions)) <= doubt[1]:
        stop = len(positions)
    if stop > len(positions):
        raise InputError(
            f"{records.path}: record 0 says that records go up to {stop - 1}, and {records.index_path} has them up to "
            f"{len(positions) - 1}: one of the files is damaged or of another data set"
        )
    if doubt[0]:
        start = _first_range(records, start, doubt[0])
    return range(start, stop)


def refuse_detection(records):
    """Raise InputError if a plain file has labels of objects in images, as MXNet's ImageDetIter reads them.

    Such a label begins with the lengths of its header and of an object, which must not be taken for an identity. The
    first and the last image are looked at.
    """
    forms = [_object_lengths(records, int(key)) for key in records.keys[[0, -1]]]
    if forms[0] and forms[0] == forms[1]:
        raise InputError(
            f"{records.path}: labels of objects in images, for detection (a header of {forms[0][0]} numbers and "
            f"{forms[0][1]} for each object): expected one identity for each image"
        )


def _object_lengths(records, key):
    """Lengths of header and object in the label of a record for detection; None for others."""
    try:
        label = records.read_record(key).label
    except InputError:  # reported when its turn comes
        return None
    if type(label) is float or len(label) < _SHORTEST_OBJECT_LABEL:
        return None
    header, width = label[:2].tolist()
    fits = header >= 2 and width >= 5 and header.is_integer() and width.is_integer()
    return (int(header), int(width)) if fits and len(label) > header and (len(label) - header) % width == 0 else None


def identities_in_runs(records):
    """How many identities a file has that lists more: a range for each run of images of the same label; else None.

    InsightFace's old tool packs an unsorted list like this. Some ranges are looked at, and all of them only if those
    begin with images of other labels.

    Args:
        records: RecordFile.
    """
    count = len(records.ranges or ())
    places = np.linspace(0, count - 1, min(count, _RANGES_LOOKED_AT)).astype(np.int64)
    if all(label == place for place, _, label in _first_images(records, places)):
        return None
    label_of = {key: label for _, key, label in _first_images(records, np.arange(count))}
    found = len(set(label_of.values()))
    return found if found < len(label_of) else None


def runs_text(records, found):
    """What to say of a file whose `identities_in_runs` are `found`."""
    return (
        f"record 0 lists {len(records.ranges)} identities, and the images have {found}: their list was not sorted by "
        "identity when it was packed, and each run of images was taken for an identity of its own; "
        "`partial-fc data merge` of this set alone writes one with a range for each"
    )


def _first_images(records, identities):
    """Yield (identity, record number, label) of the first image in the range of each; what is damaged is left out."""
    for identity in identities.tolist():
        try:
            first, end = records.read_record(records.ranges.start + identity).label
            if first < end <= EXACT:  # larger ones are rounded
                yield identity, int(first), records.read(int(first))[1]
        except (InputError, TypeError, ValueError, OverflowError):  # reported elsewhere
            continue


def end_of_images(records):
    """The number after that of the last image, without record 0; 0 if there is none."""
    last = (key for key in range(len(records.positions) - 1, 0, -1) if _is_image_at(records, key))
    return next(last, -1) + 1


def empty_identities(records):
    """(n,) int64 identities that have no images, by the identities' records; none of a plain file.

    What cannot be read is not among them. The images are not looked at, where numbers are not rounded.
    """
    if not records.ranges:
        return np.zeros(0, np.int64)
    words, found = records.words(), []
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
    """Whether an identity has an image around record `near`, a rounded number."""
    doubt = _doubt(near)
    for key in range(max(int(near) - doubt, 1), min(int(near) + doubt + 1, records.ranges.start)):
        try:
            if records.read(key)[1] == identity:
                return True
        except InputError:  # which is raised where it is needed
            continue
    return False


def _doubt(edge):
    return int(np.ceil(np.spacing(np.float32(edge)) / 2)) if edge >= EXACT else 0


def _first_range(records, start, doubt):
    """The first record near `start` whose label is an array, as ranges' are, and which holds no image."""
    for key in range(start - doubt, start + doubt + 1):
        if not _is_image(records.read_record(key)):
            return key
    raise InputError(f"{records.path}: no range of an identity near record {start}, where record 0 has the first")


def _is_image_at(records, key):
    try:
        return _is_image(records.read_record(key))
    except InputError:
        return False


def _is_image(record):
    return type(record.label) is float or len(record.content) > 0
