"""Clusters of classes that are close to each other, and the labels that they get when each becomes one identity."""

import logging
from array import array
from typing import Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from ..errors import InputError
from ..lists.numbers import number_rows
from .nearest import Pairs

log = logging.getLogger("partial_fc")

NONE_APART = np.empty((0, 2), np.int64)


def clusters(pairs: Pairs, apart: np.ndarray = NONE_APART) -> Tuple[List[np.ndarray], Pairs]:
    """Clusters of two or more classes, that of the closest pair first: classes that pairs connect, also through others.

    Two classes that are known to be different are never in one cluster, even if others connect them: the pairs join
    clusters in turn, the closest pair first (single linkage), and a pair that would bring two such classes together
    joins nothing. The number of these pairs is logged.

    Args:
        pairs: of classes, the closest first.
        apart: classes that are known to be different, (p, 2) int64.

    Returns:
        Classes of each cluster, (n,) int64, ascending; and the pairs of two classes of one cluster.
    """
    classes, index = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    first, second = index.reshape(2, -1)
    root = _roots(len(classes), Pairs(first, second, pairs.cosine), places(apart, classes, classes))
    inside = root[first] == root[second]
    order = np.argsort(root, kind="stable")
    roots, starts = np.unique(root[order], return_index=True)
    members = np.split(classes[order], starts[1:])
    of_clusters, closest = np.unique(root[first[inside]], return_index=True)
    found = [members[place] for place in np.searchsorted(roots, of_clusters[np.argsort(closest)])]
    return found, pairs.chosen(inside)


def _roots(count: int, pairs: Pairs, apart: np.ndarray) -> np.ndarray:
    """For each of `count` places one that stands for all that are joined with it, (count,) int64."""
    root = array("q", range(count))

    def find(place: int) -> int:
        while root[place] != place:
            root[place] = root[root[place]]
            place = root[place]
        return place

    barred: Dict[int, Set[int]] = {}  # for a root the places that must not be joined with it
    for one, other in [*apart.tolist(), *apart[:, ::-1].tolist()]:
        barred.setdefault(one, set()).add(other)
    skipped = 0
    for first, second, _ in pairs.rows():
        one, other = find(first), find(second)
        if one == other:
            continue
        if any(find(place) == other for place in barred.get(one, ())):
            skipped += 1
            continue
        root[other] = one
        if other in barred:
            barred.setdefault(one, set()).update(barred.pop(other))
    if skipped:
        log.info("%d close pairs do not join their clusters, which have people known to be different", skipped)
    return np.array([find(place) for place in range(count)], np.int64)


def read_different(path: Optional[str]) -> np.ndarray:
    """Pairs of labels that a person has found to be different people, (p, 2) int64.

    Args:
        path: of a list with two labels on each line; None or empty: there are no such pairs.

    Raises:
        InputError: naming a line that is not two labels.
    """
    if not path:
        return NONE_APART
    return np.concatenate([NONE_APART, *(rows for _, rows in number_rows(path, 2, "two labels"))])


def places(listed: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Places of pairs of labels in two lists of labels; pairs of which the lists lack one are left out.

    Args:
        listed: pairs, (p, 2) int64.
        first, second: labels, (n,) and (m,) int64, ascending.

    Returns:
        (q, 2) int64.
    """
    columns = []
    for labels, wanted in zip((first, second), listed.T):
        place = np.searchsorted(labels, wanted)
        columns.append(np.where(np.isin(wanted, labels), place, -1))
    found = np.stack(columns, axis=1)
    return found[(found >= 0).all(axis=1)]


def joined_labels(groups: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Labels without gaps for identities of which each group becomes one; the first of a group comes first.

    Args:
        groups: labels of the identities that are joined, (n,) int64 each; no label is in two groups.
        labels: of all identities, (m,) int64, ascending.

    Returns:
        (m, 2) int64: new and old label, ascending by the new one.

    Raises:
        InputError: a group has a label that is not in `labels`.
    """
    into = np.arange(len(labels))
    rank = np.zeros(len(labels), np.int64)  # place in the group
    for group in groups:
        places = np.searchsorted(labels, group)
        if (places == len(labels)).any() or (labels[places] != group).any():
            raise InputError(f"labels {group.tolist()}: not all of them have images")
        into[places], rank[places] = places[0], np.arange(len(group))
    _, new = np.unique(into, return_inverse=True)
    order = np.lexsort((rank, new))
    return np.stack([new[order], labels[order]], axis=1)
