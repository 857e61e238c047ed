"""Classes whose centers or mean embeddings are close: probably one person under several labels."""

import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import numpy as np

from ..data.progress import Progress
from ..data.records.data_set import prepared_output, write_lines
from ..data.tools.contact_sheet import Row
from .close_pairs import close_pairs
from .clusters import clusters, joined_labels, places, read_different
from .nearest import Pairs
from .outputs import Outputs
from .people import People, open_vectors, title, with_images

LABEL_MAP, LEAVE_OUT, CLOSE = "label-map.txt", "leave-out.txt", "close-identities.txt"
LISTS = LABEL_MAP, LEAVE_OUT, CLOSE
_NAMED, _MOST_ROWS = 10, 20  # members of a cluster in a line of text, and on a sheet


class Member(NamedTuple):
    """A class of a cluster; `nearest` is the closest other class of the cluster, with a cosine of `cosine`."""

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
        people: of the data set, if it is known.
        pairs: of classes, the closest first.
        clusters: classes of each, (m,) int64, that of the closest pair first; within a cluster the class with the most
            images, if they are known, then that with the lowest label.
        nearest: for each class in a cluster, ascending, the closest other class of the cluster.
    """

    source: str
    labels: np.ndarray
    threshold: float
    people: Optional[People]
    pairs: Pairs
    clusters: List[np.ndarray]
    nearest: Pairs

    def members(self, classes: np.ndarray) -> List[Member]:
        """Members of the clusters, by their classes, (m,) int64."""
        nearest = self.nearest.chosen(np.searchsorted(self.nearest.first, classes))
        people = self.people
        return [
            Member(label, *((people.name(label), len(people.keys(label))) if people else (str(label), None)), *closest)
            for label, *closest in nearest.rows()
        ]


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
        people: of the data set that the centers were trained on, or the features are of; classes without images are
            in no pair.
        sub_centers: of centers, see CenterVectors.
        different: path of a list of pairs that are different people, see `read_different`; two of them are in no pair
            and never in one cluster.

    Raises:
        InputError: as `open_vectors`, `close_pairs` and `read_different`.
    """
    vectors = open_vectors(source, people, sub_centers)
    labels, apart = vectors.labels, read_different(different)
    found = close_pairs(vectors, threshold, most, None, places(apart, labels, labels), workers, progress)
    pairs = Pairs(labels[found.first], labels[found.second], found.cosine)
    if people:
        pairs = with_images(pairs, people, people)
    groups, inside = clusters(pairs, apart)
    if people:  # that with the most images first
        groups = [group[np.argsort(-people.counts(group), kind="stable")] for group in groups]
    return Conflicts(source, labels, threshold, people, pairs, groups, _nearest(inside))


def _nearest(pairs: Pairs) -> Pairs:
    """For each class in a pair, ascending, the other class of the first pair that it is in, and their cosine."""
    each, other = (np.stack(two, axis=1).ravel() for two in (pairs[:2], pairs[1::-1]))
    classes, place = np.unique(each, return_index=True)
    return Pairs(classes, other[place], pairs.cosine[place // 2])


def conflicts_outputs(found: Conflicts) -> Outputs:
    """The conflicts in every form; of a data set, if it is known, there are sheets with a row per class.

    `facts` has `centers`, `classes`, `threshold`, `pairs` and `clusters`, and the table a row per class of a cluster.
    """
    classes = sum(map(len, found.clusters))
    summary = (
        f"{found.source}: {len(found.pairs.first):,} pairs with a cosine of {found.threshold:g} or more: "
        f"{len(found.clusters):,} clusters of {classes:,} of {len(found.labels):,} classes"
    )
    facts = {
        "centers": found.source,
        "classes": len(found.labels),
        "threshold": found.threshold,
        "pairs": found.pairs.as_dictionaries(),
        "clusters": ([_rounded(member) for member in found.members(each)] for each in found.clusters),
    }
    people = found.people
    sheets = (_sheet(found, people, cluster) for cluster in found.clusters) if people else iter(())
    return Outputs([summary], len(found.clusters), _lines(found), facts, _table(found), sheets)


def _rounded(member: Member) -> Dict[str, Any]:
    return {**member._asdict(), "cosine": round(member.cosine, 6)}


def _table(found: Conflicts) -> Iterator[List[Any]]:
    yield ["cluster", *Member._fields]
    for number, cluster in enumerate(found.clusters, start=1):
        yield from ([number, *_rounded(member).values()] for member in found.members(cluster))


def _lines(found: Conflicts) -> Iterator[str]:
    for number, cluster in enumerate(found.clusters, start=1):
        members = found.members(cluster)
        closest = max(member.cosine for member in members)
        named = [title(*member[:3]) for member in members[:_NAMED]]
        more = [f"{len(cluster) - _NAMED} more"] if len(cluster) > _NAMED else []
        yield f"{number:>6}  {closest:.3f}  {', '.join(named + more)}"


def _sheet(found: Conflicts, people: People, cluster: np.ndarray) -> List[Row]:
    rows = [
        people.row(each.label, f"cosine {each.cosine:.3f}\nwith {each.nearest}, its nearest")
        for each in found.members(cluster[:_MOST_ROWS])
    ]
    if len(cluster) > _MOST_ROWS:
        rows.append(people.empty_row(f"and {len(cluster) - _MOST_ROWS} more classes"))
    return rows


def write_lists(folder: str, found: Conflicts, overwrite: bool) -> int:
    """Write what `data merge`, `data split` and `centers map` take; no data is changed.

    `label-map.txt` joins each cluster to one identity: a new and an old label on each line. `leave-out.txt` lists the
    classes of each cluster but the first, for `merge --leave-out`, and `close-identities.txt` all of them, for
    `split --identities`.

    Args:
        folder: of the files, made where missing.
        found: conflicts.
        overwrite: whether the files may be replaced.

    Returns:
        Number of identities in the label map.

    Raises:
        InputError: as `prepared_output`.
        OSError: naming a file that cannot be written.
    """
    people, groups = found.people, found.clusters
    joined = joined_labels(groups, people.labels if people else found.labels)
    close = (label for group in groups for label in group.tolist())
    with prepared_output(folder, [people.data_set] if people else [], overwrite, LISTS):
        write_lines(os.path.join(folder, LABEL_MAP), (f"{new}\t{old}" for new, old in joined))
        write_lines(os.path.join(folder, LEAVE_OUT), (f"1 {label}" for group in groups for label in group[1:]))
        write_lines(os.path.join(folder, CLOSE), people.listed(close) if people else map(str, close))
    return int(joined[-1, 0]) + 1
