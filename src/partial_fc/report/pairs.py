"""Judged pairs of faces: the folder that `eval verification --mistakes DIR` and `eval ijb` write."""

import csv
import os
from typing import Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

import numpy as np

from ..errors import InputError
from ..eval.mistakes import COLUMNS, MISTAKES, SCORES, THRESHOLD
from ..files import read_json
from .checks import cosine
from .pictures import embedded

Row = TypeVar("Row")

_SIDE = 112  # pixels of a picture on the page


class Mistake(NamedTuple):
    """A pair that was judged wrongly.

    Attributes:
        fold, number: of the fold and of the pair, from 0 on.
        same: whether both images show the same person: a false reject, or else a false accept.
        score, threshold: cosines.
        left, right: names of the images.
    """

    fold: int
    number: int
    same: bool
    score: float
    threshold: float
    left: str
    right: str


class JudgedPairs(NamedTuple):
    """The pairs of a set, as a model judged them.

    Attributes:
        path: of the folder, as it was given.
        mistakes: all of them.
        issame, scores: (P,) bool and (P,) float64 of all pairs; empty without `scores.csv`.
        threshold: mean of those of the folds, a cosine; None without `threshold.json`, which is written last.
        accepts_equal: whether a pair whose score is the threshold was accepted, as it is above it.
    """

    path: str
    mistakes: List[Mistake]
    issame: np.ndarray
    scores: np.ndarray
    threshold: Optional[float]
    accepts_equal: bool

    def accepted(self) -> np.ndarray:
        """(P,) bool, the pairs that are accepted at the threshold, which must be known."""
        assert self.threshold is not None
        return self.scores >= self.threshold if self.accepts_equal else self.scores > self.threshold

    @property
    def folder(self) -> str:
        """The folder that the paths of all images have in common, with a separator; empty if they have none."""
        names = [name for each in self.mistakes for name in (each.left, each.right)]
        common = os.path.commonpath(map(os.path.dirname, names)) if names and all(map(os.path.isabs, names)) else ""
        return os.path.join(common, "") if common else ""

    def worst(self, same: bool, most: int) -> List[Mistake]:
        """At most so many mistakes of a kind, those farthest from their thresholds first."""
        own = [each for each in self.mistakes if each.same == same]
        return sorted(own, key=lambda each: -abs(each.score - each.threshold))[:most]

    def picture(self, mistake: Mistake, side: str) -> Optional[str]:
        """The `left` or `right` picture of a mistake as a `data:` address; None if it cannot be read."""
        return embedded(os.path.join(self.path, f"{mistake.number:05d}-{side}.png"), _SIDE, _SIDE)


def has_pairs(folder: str) -> bool:
    """Whether a folder has the list of mistakes."""
    return os.path.isfile(os.path.join(folder, MISTAKES))


def read_pairs(folder: str) -> JudgedPairs:
    """Read the folder of `--mistakes`; its pictures are read when they are asked for.

    Raises:
        InputError: a list that cannot be read, or a line of another form; the message names file and line.
    """
    mistakes = list(_rows(os.path.join(folder, MISTAKES), COLUMNS, _mistake))
    path = os.path.join(folder, SCORES)
    rows = _rows(path, ("index", "same", "score"), _score) if os.path.isfile(path) else iter(())
    pairs = np.fromiter(rows, [("same", bool), ("score", np.float64)])  # a set may have many millions
    issame, scores = (np.ascontiguousarray(pairs[name]) for name in ("same", "score"))
    return JudgedPairs(folder, mistakes, issame, scores, *_threshold(os.path.join(folder, THRESHOLD)))


def _threshold(path: str) -> Tuple[Optional[float], bool]:
    """`threshold` and `accepts_equal` of JudgedPairs, from `threshold.json`."""
    if not os.path.isfile(path):
        return None, False
    found = read_json(path)
    try:
        if not isinstance(found["accepts_equal"], bool):
            raise ValueError("accepts_equal is neither true nor false")
        return cosine(found["threshold"]), found["accepts_equal"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not what `--mistakes` writes: {error!r:.80}") from error


def _rows(path: str, columns: Sequence[str], parse: Callable[[List[str]], Row]) -> Iterator[Row]:
    """Parsed rows of a CSV file with these columns."""
    number = 1
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            if next(reader, []) != list(columns):
                raise ValueError(f"expected the columns {','.join(columns)}")
            for row in reader:
                number = reader.line_num
                yield parse(row)
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}, line {number}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _mistake(row: List[str]) -> Mistake:
    fold, number, same, score, threshold, left, right = row
    return Mistake(int(fold), int(number), _boolean(same), cosine(score), cosine(threshold), left, right)


def _score(row: List[str]) -> Tuple[bool, float]:
    _, same, score = row
    return _boolean(same), cosine(score)


def _boolean(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"same is {text!r:.80}, expected 0 or 1")
    return text == "1"
