"""Classes whose centers or mean embeddings are close: probably one person under several labels."""

import os
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from ..data.progress import Progress
from ..data.records.data_set import prepared_output, write_lines
from ..data.tools.contact_sheet import Row
from .close_pairs import close_pairs
from .clusters import clusters, joined_labels, without_different
from .nearest import Pairs
from .people import People, open_vectors, title

LABEL_MAP, LEAVE_OUT, CLOSE = "label-map.txt", "leave-out.txt", "close-identities.txt"
LISTS = LABEL_MAP, LEAVE_OUT, CLOSE
_NAMED = 10  # members of a cluster in a line of text


class Member(NamedTuple):
    """A class of a cluster; `nearest` is the closest other class, with a cosine of `cosine`."""

    label: int
    name: str
    images: Optional[int]
    nearest: int
    cosine: float


class Conflicts(NamedTuple):
    """What `find_conflicts` has found.

    Attributes:
        source: folder of the centers, or file of features.
        labels: of the classes, (n,) int64, ascending.
        threshold: cosine.
        pairs: of classes, the closest first.
        clusters: members of each, that of the closest pair first; within a cluster the class with the most images,
            if they are known, then that with the lowest label.
    """

    source: str
    labels: np.ndarray
    threshold: float
    pairs: Pairs
    clusters: List[List[Member]]


def find_conflicts(
    source: str,
    threshold: float,
    most: int,
    people: Optional[People] = None,
    sub_centers: Optional[int] = None,
    different: Optional[str] = None,
    workers: int = 1,
    progress: Progress = iter,
) -> Conflicts:
    """Pairs of classes whose centers, or mean embeddings, have a cosine of `threshold` or more, in clusters.

    Args:
        source: a checkpoint, or another folder of centers; or a file NAME.npy of features.
        threshold, most, workers, progress: see `close_pairs`.
        people: of the data set that the centers were trained on, or the features are of.
        sub_centers: of centers, see CenterVectors.
        different: path of a list of pairs to leave out, see `without_different`.

    Raises:
        InputError: as `open_vectors`, `close_pairs` and `without_different`.
    """
    vectors = open_vectors(source, people, sub_centers)
    found = close_pairs(vectors, threshold, most, workers=workers, progress=progress)
    pairs = Pairs(vectors.labels[found.first], vectors.labels[found.second], found.cosine)
    if different:
        pairs = without_different(pairs, different, ordered=False)
    members = _members(pairs, people)
    groups = [sorted((members[label] for label in group.tolist()), key=_most_first) for group in clusters(pairs)]
    return Conflicts(source, vectors.labels, threshold, pairs, groups)


def _most_first(member: Member) -> Tuple[int, int]:
    return -(member.images or 0), member.label


def _members(pairs: Pairs, people: Optional[People]) -> Dict[int, Member]:
    """Member of each class in a pair."""
    found: Dict[int, Member] = {}
    for first, second, cosine in zip(*(each.tolist() for each in pairs)):
        for label, nearest in ((first, second), (second, first)):
            if label not in found:
                name, images = (people.name(label), len(people.keys(label))) if people else (str(label), None)
                found[label] = Member(label, name, images, nearest, cosine)
    return found


def conflicts_facts(found: Conflicts) -> Dict[str, Any]:
    """The conflicts as a dictionary that JSON can hold: `centers`, `classes`, `threshold`, `pairs`, `clusters`."""
    return {
        "centers": found.source,
        "classes": len(found.labels),
        "threshold": found.threshold,
        "pairs": found.pairs.as_dictionaries(),
        "clusters": [[_rounded(member) for member in cluster] for cluster in found.clusters],
    }


def _rounded(member: Member) -> Dict[str, Any]:
    return {**member._asdict(), "cosine": round(member.cosine, 6)}


def conflicts_rows(found: Conflicts) -> Iterator[List[Any]]:
    """Header and rows of a CSV file: a row per class of a cluster."""
    yield ["cluster", *Member._fields]
    for number, cluster in enumerate(found.clusters, start=1):
        yield from ([number, *_rounded(member).values()] for member in cluster)


def conflicts_text(found: Conflicts) -> List[str]:
    """Lines that say what was found: a summary, and a line per cluster."""
    classes = sum(map(len, found.clusters))
    lines = [
        f"{found.source}: {len(found.pairs.first):,} pairs with a cosine of {found.threshold:g} or more: "
        f"{len(found.clusters):,} clusters of {classes:,} of {len(found.labels):,} classes"
    ]
    for number, cluster in enumerate(found.clusters, start=1):
        closest = max(member.cosine for member in cluster)
        named = [title(*member[:3]) for member in cluster[:_NAMED]]
        more = [f"{len(cluster) - _NAMED} more"] if len(cluster) > _NAMED else []
        lines.append(f"{number:>6}  {closest:.3f}  {', '.join(named + more)}")
    return lines


def conflict_sheets(found: Conflicts, people: People) -> List[Callable[[], List[Row]]]:
    """A sheet per cluster for `draw_sheets`: a row per class."""

    def rows_of(cluster: List[Member]) -> Callable[[], List[Row]]:
        return lambda: [
            people.row(each.label, f"cosine {each.cosine:.3f}\nwith {each.nearest}, its nearest") for each in cluster
        ]

    return [rows_of(cluster) for cluster in found.clusters]


def write_lists(folder: str, found: Conflicts, people: Optional[People], overwrite: bool) -> int:
    """Write what `data merge`, `data split` and `centers map` take; no data is changed.

    `label-map.txt` joins each cluster to one identity: a new and an old label on each line. `leave-out.txt` lists the
    classes of each cluster but the first, for `merge --leave-out`, and `close-identities.txt` all of them, for
    `split --identities`. Classes without images, where images are known, are in none of them.

    Args:
        folder: of the files, made where missing.
        found: conflicts.
        people: of the data set, see `find_conflicts`.
        overwrite: whether the files may be replaced.

    Returns:
        Number of identities in the label map.

    Raises:
        InputError: as `prepared_output`.
        OSError: naming a file that cannot be written.
    """
    labels = people.labels if people else found.labels
    groups = [[member for member in cluster if member.images != 0] for cluster in found.clusters]
    joined = joined_labels([np.array([member.label for member in group]) for group in groups if group], labels)
    with prepared_output(folder, [people.data_set] if people else [], overwrite, LISTS):
        write_lines(os.path.join(folder, LABEL_MAP), (f"{new}\t{old}" for new, old in joined))
        write_lines(os.path.join(folder, LEAVE_OUT), (f"1 {member.label}" for group in groups for member in group[1:]))
        write_lines(os.path.join(folder, CLOSE), (member.name for group in groups for member in group))
    return int(joined[-1, 0]) + 1
