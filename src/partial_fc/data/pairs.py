"""Pairs of images to verify on: read from LFW's form of them, or drawn at random."""

import math
import os

import numpy as np

from ..errors import InputError
from ..randomness import generator
from .image_folder import IMAGE_ENDINGS


def read_pairs(path, folder):
    """Pairs of a file in the form of LFW's pairs.txt.

    Its first line holds the number of folds and of pairs of each kind in a fold (without the former: one fold). Then
    `NAME i j` is a pair of the same identity and `NAME1 i NAME2 j` one of two, image i being `NAME/NAME_000i.*`,
    with one of the endings of images.
    Fields are separated by tabs or, in a line without tabs, by spaces.

    Args:
        path: of the file.
        folder: has the folders NAME.

    Returns:
        List of (line number, paths of the two images, whether they are of the same identity), in the file's order.

    Raises:
        InputError: naming the line, where it is not of this form or an image is missing.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = [(number, line.split("\t" if "\t" in line else None)) for number, line in enumerate(file, start=1)]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--pairs {path}: cannot be read: {error}") from error
    lines = [(number, [field.strip() for field in fields]) for number, fields in lines if "".join(fields).strip()]
    expected = _number_of_pairs(path, lines)
    pairs, images = [], _Images(folder)
    for number, fields in lines[1:]:
        try:
            pairs.append((number, *_pair(fields, images)))
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    if len(pairs) != expected:
        raise InputError(f"{path}, line {lines[0][0]}: announces {expected} pairs, but {len(pairs)} follow")
    return pairs


def _number_of_pairs(path, lines):
    number, fields = lines[0] if lines else (1, [])
    if len(fields) not in (1, 2) or not all(field.isdigit() and int(field) for field in fields):
        raise InputError(f"{path}, line {number}: expected the number of folds and of pairs of each kind in a fold")
    return 2 * int(np.prod([int(field) for field in fields], dtype=object))


def _pair(fields, images):
    """Paths of the images and whether they are of the same identity."""
    if len(fields) == 3:
        name, first, second = fields
        return (images.path(name, first), images.path(name, second)), True
    if len(fields) == 4:
        first_name, first, second_name, second = fields
        return (images.path(first_name, first), images.path(second_name, second)), False
    raise ValueError(f"expected `NAME i j` or `NAME1 i NAME2 j`, found {len(fields)} fields")


class _Images:
    """Finds images by name and number; each folder is listed once."""

    def __init__(self, folder):
        self._folder, self._listed = folder, {}

    def path(self, name, number):
        if not number.isdigit():
            raise ValueError(f"{number} is not the number of an image")
        stem = f"{name}_{int(number):04d}"
        folder = os.path.join(self._folder, name)
        if name not in self._listed:
            if not os.path.isdir(folder):
                raise ValueError(f"no folder {folder}")
            self._listed[name] = _images_by_stem(folder)
        found = self._listed[name].get(stem, [])
        if not found:
            raise ValueError(f"no image {os.path.join(folder, stem)}.*")
        if len(found) > 1:
            raise ValueError(f"{' and '.join(found)} in {folder} are both image {number} of {name}: remove one")
        return os.path.join(folder, found[0])


def _images_by_stem(folder):
    """Names of the images in a folder, in lists by name without ending; what lies beside an image is left out."""
    images = {}
    for name in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(name)
        if ending.lower() in IMAGE_ENDINGS:
            images.setdefault(stem, []).append(name)
    return images


def check_enough_pairs(counts, num_pairs):
    """Raise InputError unless there are so many different pairs of each kind, see `draw_pairs`."""
    counts = np.asarray(counts, np.int64)
    same, different = _same(counts).sum(), _different(counts).sum()
    if num_pairs > min(same, different):
        raise InputError(
            f"--random-pairs {num_pairs}: the readable images make {same} pairs of the same identity and {different} "
            f"of different ones, of which {num_pairs} each are wanted: ask for {min(same, different)} or fewer"
        )


def draw_pairs(counts, num_pairs, seed):
    """Draw pairs without replacement.

    Those of the same identity come from all identities equally often, as far as their images go; those of different
    identities from all such pairs of images.

    Args:
        counts: (n,) number of images of each identity; images are numbered through, identity by identity.
        num_pairs: how many pairs of each kind.
        seed: the pairs are a function of it and of the other arguments.

    Returns:
        List of 2 num_pairs pairs of image numbers, and bool (2 num_pairs,) issame, which alternates so that every
        fold holds both kinds.

    Raises:
        InputError: fewer pairs can be made, see `check_enough_pairs`.
    """
    check_enough_pairs(counts, num_pairs)
    random, counts = generator(seed, "pairs"), np.asarray(counts, np.int64)
    starts = np.cumsum(counts) - counts
    same = [
        tuple(int(starts[person]) + image for image in _pair_below(int(index)))
        for person, share in enumerate(_shares(random, _same(counts), num_pairs))
        if share
        for index in random.choice(_same(counts[person]), share, replace=False)
    ]
    same = [same[index] for index in random.permutation(num_pairs)]  # a fold is not to hold a few identities only
    different = _draw_different(random, counts, num_pairs)
    return [pair for both in zip(same, different) for pair in both], np.arange(2 * num_pairs) % 2 == 0


def _draw_different(random, counts, num_pairs):
    ends = np.cumsum(counts)
    pairs_end = np.cumsum(_different(counts))
    pairs = []
    for index in random.choice(pairs_end[-1], num_pairs, replace=False):
        person = np.searchsorted(pairs_end, index, "right")
        # counted back from the end of the identity's pairs: a row of `width` pairs for each of its images
        width = ends[-1] - ends[person]
        row, column = divmod(pairs_end[person] - 1 - index, width)
        pairs.append((int(ends[person] - 1 - row), int(ends[person] + column)))
    return pairs


def _same(counts):
    """Number of pairs within each identity."""
    return counts * (counts - 1) // 2


def _different(counts):
    """Number of pairs of each identity's images with those of the identities after it."""
    return counts * (counts.sum() - np.cumsum(counts))


def _shares(random, available, total):
    """`total` shared out equally, as far as what is `available` (n,) goes; chance decides who gets the remainder."""
    shares = np.zeros_like(available)
    while total:
        left = np.flatnonzero(shares < available)
        if total < len(left):
            shares[random.permutation(left)[:total]] += 1
            break
        more = np.minimum(available[left] - shares[left], total // len(left))
        shares[left] += more
        total -= more.sum()
    return shares


def _pair_below(index):
    """The pair (a, b), a < b, at `index` in the order (0, 1), (0, 2), (1, 2), (0, 3), ..."""
    larger = (1 + math.isqrt(1 + 8 * index)) // 2
    return index - larger * (larger - 1) // 2, larger
