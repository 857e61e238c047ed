"""Which labels of one set of identities are which of another."""

import re

import numpy as np

from .errors import InputError


def read_label_map(path):
    """Pairs (n, 2) int64 from a text file with a new and an old label on each line.

    Raises:
        InputError: with the line's number, for any other line.
    """
    pairs = []
    for number, line in enumerate(_lines(path), start=1):
        fields = line.split()
        if len(fields) != 2 or not all(re.fullmatch(r"[0-9]{1,18}", field) for field in fields):
            raise InputError(f"{path}, line {number}: expected a new label and an old one, not {line!r}")
        pairs.append([int(field) for field in fields])
    return np.array(pairs, np.int64).reshape(-1, 2)


def match_identities(old_path, new_path):
    """Pairs (n, 2) int64 of the new and old label of every name that is in both of two `identities.txt`, and the number
    of new names.

    Raises:
        InputError: a name that is there twice.
    """
    old, new = (_labels_by_name(path) for path in (old_path, new_path))
    pairs = [(label, old[name]) for name, label in new.items() if name in old]
    return np.array(pairs, np.int64).reshape(-1, 2), len(new)


def _labels_by_name(path):
    labels = {}
    for label, name in enumerate(_lines(path)):
        if labels.setdefault(name, label) != label:
            raise InputError(f"{path}: {name!r} is there twice, for the labels {labels[name]} and {label}")
    return labels


def _lines(path):
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return [line.rstrip("\n") for line in file]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
