"""Which labels of one set of identities are which of another."""

import logging

import numpy as np

from ..errors import InputError
from ..lists.names import Names, read_names
from ..lists.numbers import number_rows

log = logging.getLogger("partial_fc")


def read_label_map(path):
    """Pairs (n, 2) int64 from a list with a new and an old label on each line, see `text_lists`.

    Raises:
        InputError: with the line's number, for any other line.
    """
    blocks = [rows for _, rows in number_rows(path, 2, "a new label and an old one, whole numbers")]
    return np.concatenate([np.empty((0, 2), np.int64), *blocks])


def match_identities(old_path, new_path):
    """Pairs (n, 2) int64 of the new and old label of every name that is in both of two `identities.txt`, and the number
    of new names. Old names that are of no new identity are counted in a warning.

    Raises:
        InputError: a name that is there twice, no name that is in both.
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


def _labels_by_name(path):
    labels = {}
    for label, name in enumerate(read_names(path)):
        if labels.setdefault(name, label) != label:
            raise InputError(f"{path}: {name!r} is there twice, for the labels {labels[name]} and {label}")
    return labels
