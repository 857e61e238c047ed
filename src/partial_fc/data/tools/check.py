"""Examination of a whole data set: records, images, labels, index, ranges of identities and duplicates."""

import hashlib
from itertools import islice
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from ...errors import InputError
from ..images.decoding import CMYK, COLOR, DEEP, GRAY, decode_image, image_kind
from ..parallel import ordered_map
from ..progress import Progress
from ..records.data_set import DataSet, record_path
from ..records.identity_ranges import identities_in_runs, runs_text
from ..records.recordio import EXACT
from .check_structure import ERROR, NOTE, SHOWN, Findings, check_gaps, check_ranges, read_others

BLOCK = 256
_NOTES = {GRAY: "gray", CMYK: "CMYK", DEEP: "16-bit"}
_DIGEST = 8  # bytes: two of 17 million images have the same by chance in one of 100,000 data sets


class _Images(NamedTuple):
    """What is known of each image.

    Attributes:
        labels: (n,) int64, -1 where it is not an identity.
        digests: of the encoded image, (n,) uint64.
        ends: position after the record, (n,) int64, -1 where it cannot be read.
    """

    labels: np.ndarray
    digests: np.ndarray
    ends: np.ndarray


def check(
    source: str, size: Optional[Sequence[int]] = None, num_workers: int = 2, progress: Progress = iter
) -> Dict[str, Any]:
    """Read and decode every record of a data set.

    Args:
        source: folder or path of a record file.
        size: expected (height, width) of images; by default that of `property`, else of the first image.
        num_workers: threads.
        progress: wraps the iteration over blocks of `BLOCK` images, to show progress.

    Returns:
        Dictionary that JSON can hold: `file`; `images`, `identities` (that have images), `height`, `width`, each
        None if unknown; `errors`, their number; `findings`, see `Findings.listed`.
    """
    findings = Findings()
    facts: Dict[str, Any] = {
        "file": record_path(source),
        "images": None,
        "identities": None,
        "height": None,
        "width": None,
    }
    try:
        data_set = DataSet(source, tolerant=True)
    except (InputError, OSError) as error:
        findings.add("unreadable file", None, str(error))
    else:
        facts.update(_check_records(data_set, size, num_workers, progress, findings))
    listed = findings.listed()
    facts["errors"] = sum(found["count"] for found in listed if found["severity"] == ERROR)
    facts["findings"] = listed
    return facts


def check_text(facts: Dict[str, Any]) -> List[str]:
    """The result of `check` as lines of text."""
    lines = []
    for found in facts["findings"]:
        examples = "; ".join(example["message"] for example in found["examples"])
        more = "; ..." if found["count"] > len(found["examples"]) else ""
        lines.append(f"{found['severity']}: {found['kind']}: {found['count']:,}: {examples}{more}")
    if facts["errors"]:
        return lines + [f"{facts['errors']:,} error{'s' if facts['errors'] > 1 else ''}"]
    size = f"{facts['height']}x{facts['width']} pixels"
    return lines + [f"OK: {facts['images']:,} images of {facts['identities']:,} identities, {size}"]


def _check_records(data_set, size, num_workers, progress, findings):
    """Check a file that can be opened; returns facts of `check`."""
    records = data_set.records
    if records.problem:
        findings.add("record 0", 0, _short(records, records.problem))
    stated = _property(data_set, findings)
    size = size or (stated[1:] if stated else None) or data_set.first_size()
    images = _read_images(records, size, num_workers, progress, findings)
    present = np.unique(images.labels[images.labels >= 0])
    others, edges, other_ends = read_others(records, findings)
    runs = identities_in_runs(records)
    if runs:  # the cause of whatever else is wrong with ranges and numbers
        findings.add("several ranges of an identity", 0, runs_text(records, runs))
    else:
        _check_labels(present, stated, records, findings)
    if records.ranges is not None and not runs:
        check_ranges(records, images.labels, others, edges, findings)
    check_gaps(records, np.append(records.keys, others), np.append(images.ends, other_ends), findings)
    _check_duplicates(records.keys, images, findings)
    height, width = size or (None, None)
    return {"images": len(records.keys), "identities": len(present), "height": height, "width": width}


def _property(data_set, findings):
    try:
        return data_set.property()
    except InputError as error:
        findings.add("property", None, str(error))
        return None


def _read_images(records, size, num_workers, progress, findings):
    count = len(records.keys)
    images = _Images(np.full(count, -1, np.int64), np.zeros(count, np.uint64), np.full(count, -1, np.int64))

    def work(start):
        found: List[tuple] = []  # findings of this thread, to be added in order
        for index in range(start, min(start + BLOCK, count)):
            _read_image(records, index, size, images, found)
        return found

    for found in ordered_map(work, progress(range(0, count, BLOCK)), num_workers):
        for arguments in found:
            findings.add(*arguments)
    return images


def _read_image(records, index, size, images, found):
    """Examine image `index`: fill in `images`, and append arguments of `Findings.add` to `found`."""
    key = int(records.keys[index])
    try:
        record = records.read_record(key)
    except InputError as error:
        found.append(("unreadable record", key, _short(records, error)))
        return
    images.ends[index] = record.end
    digest = hashlib.blake2b(record.content, digest_size=_DIGEST).digest()
    images.digests[index] = int.from_bytes(digest, "little")
    label = record.label
    try:
        # read() raises for other labels, or corrects them
        simple = type(label) is float and 0 <= label < EXACT and label.is_integer()
        images.labels[index] = label if simple else records.read(key)[1]
    except (InputError, OverflowError) as error:
        found.append(("label", key, _short(records, error)))
    found.extend(_check_image(key, record.content, size))


def _check_image(key, content, size):
    """Yield arguments of `Findings.add` of an encoded image."""
    try:
        kind = image_kind(content)
    except ValueError as error:
        yield "unreadable image", key, f"record {key}: {error}"
        return
    if kind.color != COLOR:
        yield _NOTES[kind.color], key, f"record {key}", NOTE
    if size is None or sorted(kind.size) != sorted(size):  # not decoded: a damaged size may need any amount of memory
        yield "size", key, f"record {key}: {kind.size[0]}x{kind.size[1]} pixels (height x width)"
        return
    try:
        decode_image(content, size, f"record {key}")
    except InputError as error:
        yield "unreadable image" if kind.size == tuple(size) else "size", key, str(error)


def _check_labels(present, stated, records, findings):
    """Compare the labels `present` (ascending) with 0, 1, ... and with the numbers of identities in the files."""
    count = int(present[-1]) + 1 if len(present) else 0
    for place, number in (("property", stated and stated[0]), ("record 0", records.ranges and len(records.ranges))):
        if number is not None and number != count:
            highest = f"the highest label is {count - 1}" if count else "no image has a label"
            message = f"{place} says {number} identities, but {highest}"
            findings.add("number of identities", 0 if place == "record 0" else None, message)
    listed = records.ranges or range(0)
    for label in np.setdiff1d(np.arange(len(listed)), present).tolist():
        key = listed.start + label
        findings.add("empty identity", key, f"record {key}: identity {label} has no images")
    further = present[present >= len(listed)]
    missing = count - len(listed) - len(further)
    if missing > 0:
        before = np.diff(further, prepend=len(listed) - 1)
        gaps = np.flatnonzero(before > 1)
        absent = (label for gap in gaps for label in range(further[gap] - before[gap] + 1, further[gap]))
        first = ", ".join(str(label) for label in islice(absent, SHOWN))
        more = ", ..." if missing > SHOWN else ""
        findings.add("labels not dense", None, f"no images of {first}{more} below {count}", ERROR, missing)


def _check_duplicates(keys, images, findings):
    """Report images with the same bytes."""
    readable = np.flatnonzero((images.ends >= 0) & (images.labels >= 0))
    # by digest, then label, then record number
    order = readable[np.lexsort((images.labels[readable], images.digests[readable]))]
    same = images.digests[order][1:] == images.digests[order][:-1]
    same_label = images.labels[order][1:] == images.labels[order][:-1]
    for kind, pairs, groups in (
        ("duplicate in an identity", same & same_label, same & same_label),
        ("duplicate between identities", same & ~same_label, same),
    ):
        if not pairs.any():
            continue
        # Groups are runs of equal neighbors; those with a pair, ordered by their first record number.
        starts = np.flatnonzero(np.append(True, ~groups))
        holding = np.unique(np.searchsorted(starts, np.flatnonzero(pairs), "right") - 1)
        ends = np.append(starts[1:], len(order))
        first = np.minimum.reduceat(order, starts)[holding]
        for group in holding[np.argsort(first)[:SHOWN]]:
            members = np.sort(order[starts[group] : ends[group]])
            findings.add(kind, keys[members[0]], _group_text(keys[members], images.labels[members]), NOTE, 0)
        findings.add(kind, None, None, NOTE, int(np.count_nonzero(pairs)))


def _group_text(keys, labels):
    listed = ", ".join(f"{key} (identity {label})" for key, label in zip(keys[:SHOWN], labels))
    return f"records {listed}{', ...' if len(keys) > SHOWN else ''}"


def _short(records, error):
    """The message of an error without the path of the file."""
    prefix, message = f"{records.path}: ", str(error)
    return message[len(prefix) :] if message.startswith(prefix) else message
