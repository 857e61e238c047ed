"""Clusters of classes that are close to each other, and the labels that they get when each becomes one identity."""

from typing import List, Sequence

import numpy as np

from ..errors import InputError
from ..lists.numbers import number_rows
from .nearest import Pairs


def clusters(pairs: Pairs) -> List[np.ndarray]:
    """Classes that pairs connect, also through others, each (n,) int64; the cluster of the closest pair first."""
    classes, index = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    first, second = index.reshape(2, -1)
    root = np.arange(len(classes))
    while (root[first] != root[second]).any():
        one, other = root[first], root[second]
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while (root != root[root]).any():
            root = root[root]
    order = np.argsort(root, kind="stable")
    members = np.split(classes[order], np.flatnonzero(np.diff(root[order])) + 1)
    by_root = dict(zip(np.unique(root).tolist(), members))
    return [by_root[each] for each in dict.fromkeys(root[first].tolist())]


def without_different(pairs: Pairs, path: str, ordered: bool = True) -> Pairs:
    """The pairs of labels except for those that a person has found to be different people.

    Args:
        pairs: of labels.
        path: of a list with two labels on each line.
        ordered: whether the first on a line is of the first data set; otherwise both are of the same one.

    Raises:
        InputError: naming a line that is not two labels.
    """
    listed = {tuple(row) for _, rows in number_rows(path, 2, "two labels") for row in rows.tolist()}
    if not ordered:
        listed |= {(second, first) for first, second in listed}
    kept = np.array([pair not in listed for pair in zip(pairs.first.tolist(), pairs.second.tolist())], bool)
    return Pairs(*(each[kept] for each in pairs))


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
