"""Images and identities of a data set that are probably mislabeled, by the embeddings of a trained model."""

import os
from typing import Any, Dict, Iterator, List, NamedTuple

import numpy as np

from ..checkpoint.record_features import RecordFeatures
from ..data.progress import Progress
from ..data.records.data_set import prepared_output, write_lines
from ..data.tools.contact_sheet import COLUMNS, Row
from .identity import Findings, Limits, examine
from .outputs import Outputs
from .people import People
from .vectors import unit_features

FAR, DUPLICATES, SECOND = "far-images.txt", "duplicate-images.txt", "second-groups.txt"
FAR_PAIRS, TWO = "far-pairs.txt", "two-people.txt"
LISTS = FAR, FAR_PAIRS, DUPLICATES, SECOND, TWO


class Unusual(NamedTuple):
    """An identity of which something was found: its label, the records of its images (n,) int64, and what it is."""

    label: int
    keys: np.ndarray
    findings: Findings

    @property
    def is_far_pair(self) -> bool:
        """Whether its images, two in all, are far from each other: nothing shows which of them is wrong."""
        return len(self.keys) == 2 and len(self.findings.far) == 2


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


def clean_outputs(found: Cleaning) -> Outputs:
    """The unusual identities in every form; their sheets have a row for each kind of finding.

    `facts` has `data`, `images`, `limits`, the counts `far`, `far_pairs`, `duplicates` and `two_people`, and `found`,
    what the table has: a row per image, with degrees of `far` and `far pair`, cosines of the others. `other` is the
    record that an image is a duplicate of, or the other one of the pair.
    """
    people, counts, limits = found.people, _counts(found), found.limits
    path = people.data_set.records.path
    summary = [
        f"{path}: {found.images:,} images of {len(people.labels):,} identities",
        f"{counts['far']:,} images are farther than {limits.far:g} degrees from the mean of their identity",
        f"{counts['far_pairs']:,} identities have two images only, which are farther than that from each other",
        f"{counts['duplicates']:,} images are nearly equal to another of their identity: cosine {limits.duplicate:g}",
        f"{counts['two_people']:,} identities fall into two groups: cosine of their means below {limits.apart:g}",
    ]
    facts = {"data": path, "images": found.images, "limits": limits._asdict(), **counts, "found": _dictionaries(found)}
    lines = (f"  {_unusual_text(people, each)}" for each in found.unusual)
    sheets = (_sheet(people, each) for each in found.unusual)
    return Outputs(summary, len(found.unusual), lines, facts, _table(found), sheets)


def _table(found: Cleaning) -> Iterator[List[Any]]:
    yield ["label", "name", "record", "finding", "value", "other"]
    for unusual in found.unusual:
        label, keys, findings = unusual
        start = [label, found.people.name(label)]
        for place, angle in zip(findings.far, findings.angles):
            kind = ("far pair", int(keys[1 - place])) if unusual.is_far_pair else ("far", None)
            yield [*start, int(keys[place]), kind[0], round(float(angle), 1), kind[1]]
        for place, original, cosine in zip(findings.duplicates, findings.originals, findings.cosines):
            yield [*start, int(keys[place]), "duplicate", round(float(cosine), 4), int(keys[original])]
        for place in findings.second:
            yield [*start, int(keys[place]), "second group", round(findings.apart, 4), None]


def _dictionaries(found: Cleaning) -> Iterator[Dict[str, Any]]:
    table = _table(found)
    head = next(table)
    yield from (dict(zip(head, row)) for row in table)


def _counts(found: Cleaning) -> Dict[str, int]:
    each = [unusual.findings for unusual in found.unusual]
    pairs = sum(unusual.is_far_pair for unusual in found.unusual)
    return {
        "far": sum(len(findings.far) for findings in each) - 2 * pairs,
        "far_pairs": pairs,
        "duplicates": sum(len(findings.duplicates) for findings in each),
        "two_people": sum(len(findings.second) > 0 for findings in each),
    }


def _unusual_text(people: People, unusual: Unusual) -> str:
    label, keys, findings = unusual
    far = "far from each other" if unusual.is_far_pair else "far"
    parts = [f"{far}: {_records(keys[findings.far])}"] if len(findings.far) else []
    parts += [f"duplicates: {_records(keys[findings.duplicates])}"] if len(findings.duplicates) else []
    if len(findings.second):
        parts.append(f"two groups of {len(keys) - len(findings.second)} and {len(findings.second)} images")
    return f"{people.title(label)}: {'; '.join(parts)}"


def _records(keys: np.ndarray) -> str:
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return "records " + ", ".join(map(str, keys[:5])) + more


def _sheet(people: People, unusual: Unusual) -> List[Row]:
    label, keys, findings = unusual
    odd = np.concatenate([findings.far, findings.duplicates, findings.second])
    usual = np.setdiff1d(np.arange(len(keys)), odd)
    rows = [people.row(label, f"{len(usual)} of {len(keys)} images are usual", keys[usual])]
    if len(findings.far):
        degrees = ", ".join(f"{angle:.0f}" for angle in findings.angles[:COLUMNS])
        what = "each other" if unusual.is_far_pair else "the mean"
        rows.append(people.row(label, f"far from {what}, degrees:\n{degrees}", keys[findings.far]))
    for name, places in (("duplicates", findings.duplicates), ("their originals", findings.originals)):
        if len(places):
            rows.append(people.row(label, name, keys[places]))
    if len(findings.second):
        note = f"second of two groups, cosine {findings.apart:.2f}"
        rows.append(people.row(label, note, keys[findings.second]))
    return rows


def write_lists(folder: str, found: Cleaning, overwrite: bool) -> None:
    """Write what `data merge` and `data split` take; no data is changed.

    `far-images.txt`, `duplicate-images.txt` and `second-groups.txt` list images for `--leave-out-images`, a record and
    its label on each line, then a value; `two-people.txt` names the identities of `second-groups.txt`, for
    `split --identities`. `far-pairs.txt` lists in the same form both images of each identity of two that are far from
    each other, to delete one of the lines, or none.

    Raises:
        InputError: as `prepared_output`.
        OSError: naming a file that cannot be written.
    """
    kinds = {"far": FAR, "far pair": FAR_PAIRS, "duplicate": DUPLICATES, "second group": SECOND}
    lines: Dict[str, List[str]] = {name: [] for name in kinds.values()}
    for each in _dictionaries(found):
        lines[kinds[each["finding"]]].append(f"{each['record']}\t{each['label']}\t{each['value']}")
    two = list(found.people.listed(each.label for each in found.unusual if len(each.findings.second)))
    with prepared_output(folder, [found.people.data_set], overwrite, LISTS):
        for name, listed in {**lines, TWO: two}.items():
            write_lines(os.path.join(folder, name), listed)
