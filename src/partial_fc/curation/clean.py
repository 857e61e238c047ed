"""Images and identities of a data set that are probably mislabeled, by the embeddings of a trained model."""

import os
from typing import Any, Callable, Dict, Iterator, List, NamedTuple

import numpy as np

from ..checkpoint.record_features import RecordFeatures
from ..data.progress import Progress
from ..data.records.data_set import prepared_output, write_lines
from ..data.tools.contact_sheet import Row
from .identity import Findings, Limits, examine
from .people import People
from .vectors import unit_features

FAR, DUPLICATES, SECOND, TWO = "far-images.txt", "duplicate-images.txt", "second-groups.txt", "two-people.txt"
LISTS = FAR, DUPLICATES, SECOND, TWO


class Unusual(NamedTuple):
    """An identity of which something was found: its label, the records of its images (n,) int64, and what it is."""

    label: int
    keys: np.ndarray
    findings: Findings


class Cleaning(NamedTuple):
    """What `find_unusual` has found.

    Attributes:
        people: of the data set.
        images: that were examined.
        limits: see Limits.
        unusual: identities, that with the largest share of suspicious images first.
    """

    people: People
    images: int
    limits: Limits
    unusual: List[Unusual]


def find_unusual(people: People, features_path: str, limits: Limits, progress: Progress = iter) -> Cleaning:
    """Examine each identity of a data set; its images are in memory one identity at a time.

    Args:
        people: of the data set.
        features_path: of the `.npy` file of its images that `eval embed --rec` writes.
        limits: see Limits.
        progress: wraps the iteration over the identities.

    Raises:
        InputError: as RecordFeatures; features of another data set, or that are not finite.
    """
    features = RecordFeatures(features_path)
    people.check_features(features)
    order = np.lexsort((features.keys, features.labels))
    groups = np.split(order, np.flatnonzero(np.diff(features.labels[order])) + 1)
    unusual = []
    for rows in progress(groups):
        findings = examine(unit_features(features, rows), limits)
        if findings.num_images:
            unusual.append(Unusual(int(features.labels[rows[0]]), features.keys[rows], findings))
    unusual.sort(key=lambda each: -each.findings.num_images / len(each.keys))
    return Cleaning(people, len(order), limits, unusual)


def clean_rows(found: Cleaning) -> Iterator[List[Any]]:
    """Header and rows of a CSV file, a row per image: degrees of `far`, cosines of the others.

    `other` is the record of which an image is a duplicate.
    """
    yield ["label", "name", "record", "finding", "value", "other"]
    for label, keys, findings in found.unusual:
        start = [label, found.people.name(label)]
        for place, angle in zip(findings.far, findings.angles):
            yield [*start, int(keys[place]), "far", round(float(angle), 1), None]
        for place, original, cosine in zip(findings.duplicates, findings.originals, findings.cosines):
            yield [*start, int(keys[place]), "duplicate", round(float(cosine), 4), int(keys[original])]
        for place in findings.second:
            yield [*start, int(keys[place]), "second group", round(findings.apart, 4), None]


def clean_facts(found: Cleaning) -> Dict[str, Any]:
    """The findings as a dictionary that JSON can hold: `data`, `images`, `limits`, counts, and `found`, see
    `clean_rows`."""
    head, *rows = clean_rows(found)
    return {
        "data": found.people.data_set.records.path,
        "images": found.images,
        "limits": found.limits._asdict(),
        **_counts(found),
        "found": [dict(zip(head, row)) for row in rows],
    }


def _counts(found: Cleaning) -> Dict[str, int]:
    each = [unusual.findings for unusual in found.unusual]
    return {
        "far": sum(len(findings.far) for findings in each),
        "duplicates": sum(len(findings.duplicates) for findings in each),
        "two_people": sum(len(findings.second) > 0 for findings in each),
    }


def clean_text(found: Cleaning) -> List[str]:
    """Lines that say what was found: a summary, and a line per identity."""
    counts, limits = _counts(found), found.limits
    lines = [
        f"{found.people.data_set.records.path}: {found.images:,} images of {len(found.people.labels):,} identities",
        f"{counts['far']:,} images are farther than {limits.far:g} degrees from the mean of their identity",
        f"{counts['duplicates']:,} images are nearly equal to another of their identity: cosine {limits.duplicate:g}",
        f"{counts['two_people']:,} identities fall into two groups: cosine of their means below {limits.apart:g}",
    ]
    return lines + [f"  {_unusual_text(found.people, each)}" for each in found.unusual]


def _unusual_text(people: People, unusual: Unusual) -> str:
    label, keys, findings = unusual
    parts = [f"far: {_records(keys[findings.far])}"] if len(findings.far) else []
    parts += [f"duplicates: {_records(keys[findings.duplicates])}"] if len(findings.duplicates) else []
    if len(findings.second):
        parts.append(f"two groups of {len(keys) - len(findings.second)} and {len(findings.second)} images")
    return f"{people.title(label)}: {'; '.join(parts)}"


def _records(keys: np.ndarray) -> str:
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return "records " + ", ".join(map(str, keys[:5])) + more


def clean_sheets(found: Cleaning) -> List[Callable[[], List[Row]]]:
    """A sheet per identity for `draw_sheets`: images of it, and rows of what was found."""
    return [_sheet(found.people, each) for each in found.unusual]


def _sheet(people: People, unusual: Unusual) -> Callable[[], List[Row]]:
    label, keys, findings = unusual

    def rows() -> List[Row]:
        odd = np.concatenate([findings.far, findings.duplicates, findings.second])
        usual = np.setdiff1d(np.arange(len(keys)), odd)
        result = [people.row(label, f"{len(usual)} of {len(keys)} images are usual", keys[usual])]
        if len(findings.far):
            degrees = ", ".join(f"{angle:.0f}" for angle in findings.angles[:10])
            result.append(people.row(label, f"far from the mean, degrees:\n{degrees}", keys[findings.far]))
        for name, places in (("duplicates", findings.duplicates), ("their originals", findings.originals)):
            if len(places):
                result.append(people.row(label, name, keys[places]))
        if len(findings.second):
            note = f"second of two groups, cosine {findings.apart:.2f}"
            result.append(people.row(label, note, keys[findings.second]))
        return result

    return rows


def write_lists(folder: str, found: Cleaning, overwrite: bool) -> None:
    """Write what `data merge` and `data split` take; no data is changed.

    `far-images.txt`, `duplicate-images.txt` and `second-groups.txt` list images for `--leave-out-images`, a record and
    its label on each line, then a value; `two-people.txt` names the identities of `second-groups.txt`, for
    `split --identities`.

    Raises:
        InputError: as `prepared_output`.
        OSError: naming a file that cannot be written.
    """
    kinds = {"far": FAR, "duplicate": DUPLICATES, "second group": SECOND}
    lines: Dict[str, List[str]] = {name: [] for name in kinds.values()}
    for label, _, key, finding, value, _ in list(clean_rows(found))[1:]:
        lines[kinds[finding]].append(f"{key}\t{label}\t{value}")
    two = [found.people.name(each.label) for each in found.unusual if len(each.findings.second)]
    with prepared_output(folder, [found.people.data_set], overwrite, LISTS):
        for name, listed in {**lines, TWO: two}.items():
            write_lines(os.path.join(folder, name), listed)
