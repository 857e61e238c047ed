"""People whom two data sets share, by the means of the embeddings of one model, or by centers."""

import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..checkpoint.record_features import check_one_model
from ..data.progress import Progress
from ..data.records.data_set import prepared_output, write_lines
from ..data.tools.contact_sheet import Row
from .close_pairs import close_pairs
from .clusters import joined_labels, places, read_different
from .nearest import Pairs
from .outputs import Outputs
from .people import People, is_features, open_vectors, with_images

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
        closest: for each identity of the second set that is in a pair, its first pair.
    """

    people: Tuple[People, People]
    threshold: float
    pairs: Pairs
    closest: Pairs

    def matches(self) -> Iterator[Match]:
        """Yield each identity of the second data set that is in a pair; the closest to one of the first set first."""
        first, second = self.people
        for nearest, label, cosine in self.closest.rows():
            other = nearest, first.name(nearest), len(first.keys(nearest))
            yield Match(label, second.name(label), len(second.keys(label)), *other, cosine)


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
        different: path of a list of pairs that are different people, labels in the first and the second data set; see
            `read_different`; they are in no pair.

    Raises:
        InputError: as `open_vectors`, `close_pairs`, `read_different` and `check_one_model`.
    """
    if all(map(is_features, by)):
        check_one_model(*by)
    first, second = (open_vectors(path, each) for each, path in zip(people, by))
    apart = places(read_different(different), first.labels, second.labels)
    found = close_pairs(first, threshold, most, second, apart, workers, progress)
    pairs = with_images(Pairs(first.labels[found.first], second.labels[found.second], found.cosine), *people)
    _, place = np.unique(pairs.second, return_index=True)
    return Overlap(people, threshold, pairs, pairs.chosen(np.sort(place)))


def overlap_outputs(found: Overlap) -> Outputs:
    """The overlap in every form; a finding is an identity of the second data set that the first has, too.

    `facts` has `data`, `identities`, `threshold`, `pairs` and `matches`, and the table and the sheets have a row per
    match, and one for each data set.
    """
    paths, counts = zip(*((each.data_set.records.path, len(each.labels)) for each in found.people))
    count = len(found.closest.first)
    summary = (
        f"{count:,} of {counts[1]:,} identities of {paths[1]} are among the {counts[0]:,} of {paths[0]}, with a cosine "
        f"of {found.threshold:g} or more"
    )
    facts = {
        "data": paths,
        "identities": counts,
        "threshold": found.threshold,
        "pairs": found.pairs.as_dictionaries(),
        "matches": (_rounded(match) for match in found.matches()),
    }
    sheets = (_sheet(match, *found.people) for match in found.matches())
    return Outputs([summary], count, _lines(found), facts, _table(found), sheets)


def _rounded(match: Match) -> Dict[str, Any]:
    return {**match._asdict(), "cosine": round(match.cosine, 6)}


def _table(found: Overlap) -> Iterator[List[Any]]:
    yield list(Match._fields)
    yield from (list(_rounded(match).values()) for match in found.matches())


def _lines(found: Overlap) -> Iterator[str]:
    for each in found.matches():
        own, other = found.people[1].title(each.label), found.people[0].title(each.nearest)
        yield f"  {each.cosine:.3f}  {own} = {other}"


def _sheet(match: Match, first: People, second: People) -> List[Row]:
    return [
        first.row(match.nearest, "first data set"),
        second.row(match.label, f"second data set\ncosine {match.cosine:.3f}"),
    ]


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
    shared = found.closest.second.tolist()
    for nearest, label in zip(found.closest.first.tolist(), shared):
        place = int(np.searchsorted(first, nearest))
        groups.setdefault(place, [place]).append(len(first) + int(np.searchsorted(second, label)))
    joined = joined_labels([np.array(each) for each in groups.values()], np.arange(len(first) + len(second)))
    sources = [1 + (place >= len(first)) for _, place in joined]
    labels = np.concatenate([first, second])[joined[:, 1]]
    data_sets = [each.data_set for each in found.people]
    with prepared_output(folder, data_sets, overwrite, LISTS):
        rows = zip(joined[:, 0], sources, labels)
        write_lines(os.path.join(folder, LABEL_MAP), ("\t".join(map(str, row)) for row in rows))
        write_lines(os.path.join(folder, LEAVE_OUT), (f"2 {label}" for label in shared))
        write_lines(os.path.join(folder, SHARED), found.people[1].listed(shared))
    return int(joined[-1, 0]) + 1
