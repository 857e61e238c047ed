"""People whom two data sets share, by the means of the embeddings of one model, or by centers."""

import os
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..data.progress import Progress
from ..data.records.data_set import prepared_output, write_lines
from ..data.tools.contact_sheet import Row
from .close_pairs import close_pairs
from .clusters import joined_labels, without_different
from .nearest import Pairs
from .people import People, open_vectors

LABEL_MAP, LEAVE_OUT, SHARED = "label-map.txt", "leave-out.txt", "shared-identities.txt"
LISTS = LABEL_MAP, LEAVE_OUT, SHARED


class Match(NamedTuple):
    """An identity of the second data set, and the closest one of the first."""

    label: int
    name: str
    images: int
    nearest: int
    nearest_name: str
    nearest_images: int
    cosine: float


class Overlap(NamedTuple):
    """What `find_overlap` has found.

    Attributes:
        people: of both data sets.
        threshold: cosine.
        pairs: labels in the first and in the second data set, the closest first.
        matches: for each identity of the second set that is in a pair, the closest of the first; the closest first.
    """

    people: Tuple[People, People]
    threshold: float
    pairs: Pairs
    matches: List[Match]


def find_overlap(
    people: Tuple[People, People],
    by: Sequence[str],
    threshold: float,
    most: int,
    different: Optional[str] = None,
    workers: int = 1,
    progress: Progress = iter,
) -> Overlap:
    """Pairs of an identity in one and an identity in another data set with a cosine of `threshold` or more.

    Args:
        people: of the two data sets.
        by: for each a file NAME.npy of features of its images, or a folder of its centers; all by one model.
        threshold, most, workers, progress: see `close_pairs`.
        different: path of a list of pairs to leave out, labels in the first and the second; see `without_different`.

    Raises:
        InputError: as `open_vectors`, `close_pairs` and `without_different`.
    """
    first, second = (open_vectors(path, each) for each, path in zip(people, by))
    found = close_pairs(first, threshold, most, second, workers, progress)
    pairs = Pairs(first.labels[found.first], second.labels[found.second], found.cosine)
    known = np.isin(pairs.first, people[0].labels) & np.isin(pairs.second, people[1].labels)
    pairs = Pairs(*(each[known] for each in pairs))  # classes without images
    if different:
        pairs = without_different(pairs, different)
    return Overlap(people, threshold, pairs, _matches(people, pairs))


def _matches(people: Tuple[People, People], pairs: Pairs) -> List[Match]:
    found: Dict[int, Match] = {}
    for nearest, label, cosine in zip(*(each.tolist() for each in pairs)):
        if label not in found:
            own, other = (
                (each.name(number), len(each.keys(number))) for each, number in zip(people[::-1], (label, nearest))
            )
            found[label] = Match(label, *own, nearest, *other, cosine)
    return list(found.values())


def overlap_facts(found: Overlap) -> Dict[str, Any]:
    """The overlap as a dictionary that JSON can hold: `data`, `identities`, `threshold`, `pairs`, `matches`."""
    return {
        "data": [each.data_set.records.path for each in found.people],
        "identities": [len(each.labels) for each in found.people],
        "threshold": found.threshold,
        "pairs": found.pairs.as_dictionaries(),
        "matches": [_rounded(match) for match in found.matches],
    }


def _rounded(match: Match) -> Dict[str, Any]:
    return {**match._asdict(), "cosine": round(match.cosine, 6)}


def overlap_rows(found: Overlap) -> Iterator[List[Any]]:
    """Header and rows of a CSV file: a row per identity of the second data set that the first has, too."""
    yield list(Match._fields)
    yield from (list(_rounded(match).values()) for match in found.matches)


def overlap_text(found: Overlap) -> List[str]:
    """Lines that say what was found: a summary, and a line per shared identity."""
    first, second = (each.data_set.records.path for each in found.people)
    lines = [
        f"{len(found.matches):,} of {len(found.people[1].labels):,} identities of {second} are among the "
        f"{len(found.people[0].labels):,} of {first}, with a cosine of {found.threshold:g} or more"
    ]
    for each in found.matches:
        own, other = found.people[1].title(each.label), found.people[0].title(each.nearest)
        lines.append(f"  {each.cosine:.3f}  {own} = {other}")
    return lines


def overlap_sheets(found: Overlap) -> List[Callable[[], List[Row]]]:
    """A sheet per shared identity for `draw_sheets`: a row for each data set."""

    def rows_of(match: Match) -> Callable[[], List[Row]]:
        first, second = found.people
        return lambda: [
            first.row(match.nearest, "first data set"),
            second.row(match.label, f"second data set\ncosine {match.cosine:.3f}"),
        ]

    return [rows_of(match) for match in found.matches]


def write_lists(folder: str, found: Overlap, overwrite: bool) -> int:
    """Write what `data merge FIRST SECOND OUT` and `data split SECOND` take; no data is changed.

    `leave-out.txt` leaves the shared identities of the second data set out, `label-map.txt` joins them to those of the
    first instead: a new label, the number of the data set and the label in it. `shared-identities.txt` names them, for
    `split --identities`.

    Args:
        folder: of the files, made where missing.
        found: overlap.
        overwrite: whether the files may be replaced.

    Returns:
        Number of identities in the label map.

    Raises:
        InputError: as `prepared_output`.
        OSError: naming a file that cannot be written.
    """
    first, second = (each.labels for each in found.people)
    groups: Dict[int, List[int]] = {}
    for match in found.matches:
        place = int(np.searchsorted(first, match.nearest))
        groups.setdefault(place, [place]).append(len(first) + int(np.searchsorted(second, match.label)))
    joined = joined_labels([np.array(each) for each in groups.values()], np.arange(len(first) + len(second)))
    sources = [1 + (place >= len(first)) for _, place in joined]
    labels = np.concatenate([first, second])[joined[:, 1]]
    data_sets = [each.data_set for each in found.people]
    with prepared_output(folder, data_sets, overwrite, LISTS):
        rows = zip(joined[:, 0], sources, labels)
        write_lines(os.path.join(folder, LABEL_MAP), ("\t".join(map(str, row)) for row in rows))
        write_lines(os.path.join(folder, LEAVE_OUT), (f"2 {match.label}" for match in found.matches))
        write_lines(os.path.join(folder, SHARED), (match.name for match in found.matches))
    return int(joined[-1, 0]) + 1
