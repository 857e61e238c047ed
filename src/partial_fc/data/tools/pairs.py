"""Pairs of images for verification: read from a list, or drawn at random."""

import math
import os
from typing import Dict, List, Sequence, Tuple

import numpy as np

from ...errors import InputError
from ...lists.names import find_path, name_key
from ...lists.text import shown_text, text_lines, ways_to_split, whole_numbers
from ...randomness import generator
from ..images.folder import IMAGE_ENDINGS

_LABELS = {"1": True, "true": True, "0": False, "-1": False, "false": False}


def read_pairs(path: str, folder: str) -> List[Tuple[int, Tuple[str, str], bool]]:
    """Pairs of a list, one per line, in the form of LFW or with the paths of the images.

    `NAME i j` is a pair of the same identity and `NAME1 i NAME2 j` one of different identities; image i is the file
    `NAME/NAME_000i.*` with the ending of an image format. `PATH1 PATH2 LABEL`, or the label first, is a pair of the
    same identity if the label is 1, and of different ones if it is 0 or -1; paths are relative to the folder. Fields
    are separated by tabs, commas or spaces; see `lists.text`.

    A first line of numbers announces the number of pairs: folds, and pairs of each kind per fold, as in LFW's
    pairs.txt; or one number, the pairs of each kind or all pairs.

    Args:
        path: of the file.
        folder: that has the folders NAME, and that paths start from.

    Returns:
        (line number, paths of the two images, whether they show the same identity) of each pair, in order.

    Raises:
        InputError: a line has another form, an image is missing, or the announced number is another; the message names
            the line.
    """
    pairs: List[Tuple[int, Tuple[str, str], bool]] = []
    images, announced, first = _Images(folder), None, 0
    for number, line in text_lines(path, f"--pairs {path}"):
        try:
            if not first:
                first, announced = number, _announced(line)
            if number != first or not announced:
                pairs.append((number, *_pair(line, images)))
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    if not pairs:
        raise InputError(f"{path}: has no pairs")
    if announced and len(pairs) not in announced:
        raise InputError(
            f"{path}, line {first}: announces {announced[0]} pairs, but {len(pairs)} follow: add the missing ones, or "
            "remove this line"
        )
    return pairs


def _announced(line):
    """Numbers of pairs that the first line may announce; None if it is a pair."""
    for fields in ways_to_split(line):
        numbers = _numbers(fields, 1)
        if numbers and len(numbers) == 2:
            return [2 * numbers[0] * numbers[1]]
        if numbers and len(numbers) == 1:
            return [2 * numbers[0], numbers[0]]
    return None


def _pair(line, images):
    """Paths of the two images, and whether they show the same identity."""
    for fields in ways_to_split(line):
        if len(fields) == 3 and _numbers(fields[1:]):
            name, first, second = fields
            return (images.path(name, first), images.path(name, second)), True
        if len(fields) == 4 and _numbers(fields[1::2]):
            first_name, first, second_name, second = fields
            return (images.path(first_name, first), images.path(second_name, second)), False
        if len(fields) == 3 and fields[2].lower() in _LABELS:
            return tuple(map(images.at, fields[:2])), _LABELS[fields[2].lower()]
        if len(fields) == 3 and fields[0].lower() in _LABELS:
            return tuple(map(images.at, fields[1:])), _LABELS[fields[0].lower()]
    raise ValueError(f"expected `NAME i j`, `NAME1 i NAME2 j` or `PATH1 PATH2 LABEL`, found {shown_text(line)}")


def _numbers(fields, low=0):
    """The fields as integers from `low` on; None if they are something else."""
    try:
        return whole_numbers(fields, low)
    except ValueError:
        return None


class _Images:
    """Finds images by name and number; each folder is listed once."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._listed: Dict[str, Dict[str, List[str]]] = {}

    def path(self, name: str, number: int) -> str:
        """Path of an image by name and number; raises ValueError unless there is exactly one."""
        stem = name_key(f"{name}_{int(number):04d}")
        folder = find_path(self._folder, name)
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

    def at(self, name: str) -> str:
        """Path of the image at a path relative to the folder; raises ValueError if there is none."""
        path = find_path(self._folder, name)
        if not os.path.isfile(path):
            raise ValueError(f"no image {path}")
        return path


def _images_by_stem(folder):
    """Names of the images in a folder, by name without ending."""
    images: Dict[str, List[str]] = {}
    for name in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(name)
        if ending.lower() in IMAGE_ENDINGS:
            images.setdefault(name_key(stem), []).append(name)
    return images


def check_enough_pairs(counts: Sequence[int], num_pairs: int) -> None:
    """Raise InputError unless so many pairs of each kind can be made, see `draw_pairs`."""
    numbers = np.asarray(counts, np.int64)
    same, different = _same(numbers).sum(), _different(numbers).sum()
    if num_pairs > min(same, different):
        raise InputError(
            f"--random-pairs {num_pairs}: the readable images make {same} pairs of the same identity and {different} "
            f"of different ones, fewer than {num_pairs} of each: ask for {min(same, different)} or fewer"
        )


def draw_pairs(counts: Sequence[int], num_pairs: int, seed: int) -> Tuple[List[Tuple[int, int]], np.ndarray]:
    """Draw pairs without replacement.

    Pairs of the same identity are drawn from all identities equally often, as far as their images suffice; pairs of
    different identities from all such pairs of images.

    Args:
        counts: number of images of each identity, (n,); images are numbered identity by identity.
        num_pairs: number of pairs of each kind.
        seed: the pairs are a function of it and of the other arguments.

    Returns:
        2 num_pairs pairs of image numbers, and issame, bool (2 num_pairs,), which alternates so that every fold has
        both kinds.

    Raises:
        InputError: fewer pairs can be made, see `check_enough_pairs`.
    """
    check_enough_pairs(counts, num_pairs)
    random, numbers = generator(seed, "pairs"), np.asarray(counts, np.int64)
    same = _draw_same(random, numbers, num_pairs)
    different = _draw_different(random, numbers, num_pairs)
    return [pair for both in zip(same, different) for pair in both], np.arange(2 * num_pairs) % 2 == 0


def _draw_same(random, counts, num_pairs):
    starts = np.cumsum(counts) - counts
    pairs = [
        tuple(int(starts[person]) + image for image in _pair_below(int(index)))
        for person, share in enumerate(_shares(random, _same(counts), num_pairs))
        if share
        for index in random.choice(_same(counts[person]), share, replace=False)
    ]
    return [pairs[index] for index in random.permutation(num_pairs)]  # so that a fold has many identities


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
    """Equal shares of `total`, each at most what is `available` (n,); the remainder is assigned at random."""
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
