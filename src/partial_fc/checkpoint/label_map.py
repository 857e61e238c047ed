"""Labels of the same identities in two data sets."""

import logging
from typing import Dict, Tuple

import numpy as np

from ..errors import InputError
from ..lists.names import Names, read_names
from ..lists.numbers import number_rows

log = logging.getLogger("partial_fc")


def read_label_map(path: str) -> np.ndarray:
    """Pairs (n, 2) int64 from a list with a new and an old label on each line.

    Raises:
        InputError: names a line of another form.
    """
    blocks = [rows for _, rows in number_rows(path, 2, "a new label and an old one, whole numbers")]
    return np.concatenate([np.empty((0, 2), np.int64), *blocks])


def match_identities(old_path: str, new_path: str) -> Tuple[np.ndarray, int]:
    """Match the names of two lists `identities.txt`. A warning counts the old names that are not in the new list.

    Returns:
        Pairs (n, 2) int64 of the new and the old label of every name that is in both, and the number of new names.

    Raises:
        InputError: a name is repeated, or no name is in both lists.
    """
    old, new = (_labels_by_name(path) for path in (old_path, new_path))
    known = Names(old)
    found = ((label, known.find(name)) for name, label in new.items())
    pairs = [(label, old[name]) for label, name in found if name is not None]
    if not pairs:
        raise InputError(f"{new_path}: none of its {len(new)} names is among the {len(old)} of {old_path}")
    lost = set(old.values()).difference(label for _, label in pairs)
    if lost:
        name = list(old)[min(lost)]
        log.warning("%s: %d of %d names are not in %s, one is %r", old_path, len(lost), len(old), new_path, name)
    return np.array(pairs, np.int64).reshape(-1, 2), len(new)


def _labels_by_name(path: str) -> Dict[str, int]:
    labels: Dict[str, int] = {}
    for label, name in enumerate(read_names(path)):
        if labels.setdefault(name, label) != label:
            raise InputError(f"{path}: {name!r} is repeated, for the labels {labels[name]} and {label}")
    return labels
