"""Facts of a data set: numbers of images and identities, sizes and formats of images."""

import os
from collections import Counter
from typing import Any, Dict, List, Optional

import numpy as np

from ...errors import InputError
from ..images.decoding import image_kind
from ..records.data_set import DataSet
from ..records.identity_ranges import identities_in_runs, runs_text

_SAMPLE = 64
_BAR = 40


def info(source: str, pictures: Optional[str] = None) -> Dict[str, Any]:
    """Facts of a data set as a dictionary that JSON can hold.

    Only the headers of records are read, and of 64 images, spread evenly over the file, the headers of the images.

    Args:
        source: folder or path of a record file.
        pictures: folder to write `histogram.png` and `contact-sheet.png` to, made where missing; None: no pictures.

    Returns:
        `file`, `bytes`, `images`, `identities` (that have images), `identities_listed` (in the file or `property`, or
        None); `warning`, None or that the file has ranges of runs of images; `images_an_identity`: `min`, `median`,
        `mean`, `max`, `with_one` (identities of one image);
        `record_bytes`: `min`, `median`, `mean`, `max`; `histogram`: list of `from`, `to` (images) and `identities`;
        `sample`: list of `kind`, `color`, `height`, `width`, `images`, the most frequent first; the first four are
        None for records that are not images.

    Raises:
        InputError: a file is missing or damaged, or the folder of the pictures cannot be made.
        OSError: a picture cannot be written; the error names it.
    """
    data_set = DataSet(source)
    records, grouped = data_set.records, data_set.grouped()
    counts, runs = np.diff(grouped.edges), identities_in_runs(records)
    facts = {
        "file": records.path,
        "bytes": os.path.getsize(records.path),
        "images": len(records.keys),
        "identities": len(counts),
        "identities_listed": records.num_identities,
        "warning": runs_text(records, runs) if runs else None,
        "images_an_identity": dict(_spread(counts), with_one=int(np.count_nonzero(counts == 1))),
        "record_bytes": _spread(_record_bytes(records)),
        "histogram": _histogram(counts),
        "sample": _sample(records),
    }
    if pictures:
        _draw(pictures, facts, data_set, grouped)
    return facts


def info_text(facts: Dict[str, Any]) -> List[str]:
    """The facts of `info` as lines of text."""
    images, sizes = facts["images_an_identity"], facts["record_bytes"]
    listed = facts["identities_listed"]
    lines = [
        f"{facts['file']}: {facts['images']:,} images of {facts['identities']:,} identities, {facts['bytes']:,} bytes",
        f"images per identity: {_spread_text(images)}; {images['with_one']:,} identities have one",
        f"bytes per record: {_spread_text(sizes)}",
        f"of {sum(group['images'] for group in facts['sample'])} images examined:",
    ]
    if facts["warning"]:
        lines.insert(1, f"warning: {facts['warning']}")
    elif listed not in (None, facts["identities"]):
        lines.insert(1, f"the file lists {listed:,} identities")
    lines += [f"  {group['images']} {_kind_text(group)}" for group in facts["sample"]]
    lines.append("images per identity, and how many identities have so many:")
    bins = facts["histogram"]
    most = max(each["identities"] for each in bins)
    width = max(len(bin_text(each)) for each in bins)
    for each in bins:
        # rounded up: every bin that is not empty has a bar
        bar = "#" * -(-each["identities"] * _BAR // most)
        lines.append(f"  {bin_text(each):>{width}}  {each['identities']:>10,}  {bar}".rstrip())
    return lines


def bin_text(each: Dict[str, Any]) -> str:
    """Text of a bin of the histogram, such as 5-8."""
    return str(each["from"]) if each["from"] == each["to"] else f"{each['from']}-{each['to']}"


def _spread(numbers):
    return {
        "min": int(numbers.min()),
        "median": float(np.median(numbers)),
        "mean": float(numbers.mean()),
        "max": int(numbers.max()),
    }


def _spread_text(spread):
    return f"{spread['min']:,} to {spread['max']:,}, median {spread['median']:,g}, mean {spread['mean']:,.1f}"


def _kind_text(group):
    if group["kind"] is None:
        return "not an image"
    return f"{group['kind']}, {group['height']}x{group['width']} pixels (height x width), {group['color']}"


def _record_bytes(records):
    """Bytes of each image's record, up to the start of the next record in the file, (images,) int64."""
    starts = np.sort(records.positions[records.positions >= 0])
    ends = np.append(starts[1:], os.path.getsize(records.path))
    positions = records.positions[records.keys]
    positions = positions[positions >= 0]
    return ends[np.searchsorted(starts, positions)] - positions


def _histogram(counts):
    """Bins 1, 2, 3-4, 5-8, ... up to the largest count."""
    # ceil(log2(count)), exactly: the exponent of count - 1/2 with a mantissa from 1/2 to 1, as frexp has it
    bins = np.bincount(np.frexp(counts - 0.5)[1])
    return [
        {"from": 2 ** (index - 1) + 1 if index else 1, "to": 2**index, "identities": int(number)}
        for index, number in enumerate(bins)
    ]


def _sample(records):
    chosen = np.linspace(0, len(records.keys) - 1, min(_SAMPLE, len(records.keys))).round().astype(int)
    kinds = Counter(_kind(records, int(key)) for key in records.keys[chosen])
    names = ("kind", "color", "height", "width")
    return [dict(zip(names, kind), images=number) for kind, number in kinds.most_common()]


def _kind(records, key):
    try:
        kind, color, size = image_kind(records.read_record(key).content)
    except ValueError:  # InputError among them
        return (None,) * 4
    return (kind, color, *size)


def _draw(folder, facts, data_set, grouped):
    from .contact_sheet import draw_contact_sheet, draw_histogram  # Matplotlib takes a second to import

    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {error.strerror}") from error
    bins = [(bin_text(each), each["identities"]) for each in facts["histogram"]]
    draw_histogram(os.path.join(folder, "histogram.png"), bins)
    labels = grouped.labels.tolist()
    names = [str(label) for label in labels]
    if data_set.names() is not None:
        names = [f"{label}: {name}" for label, name in zip(names, data_set.names_of(labels))]
    draw_contact_sheet(os.path.join(folder, "contact-sheet.png"), data_set.records, grouped, names)
