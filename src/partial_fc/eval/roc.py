"""True accept rates at given false accept rates: exact, from scores or from counts of scores.

A pair is accepted if its score is at least the threshold. The true accept rate (TAR) and the false accept rate (FAR)
are the shares of the genuine and of the impostor pairs that are accepted (ISO/IEC 19795-1). So pairs of equal score are
accepted together or not at all.
"""

import logging
from fractions import Fraction
from typing import Dict, NamedTuple, Optional, Sequence

import cv2
import numpy as np

from ..errors import InputError

log = logging.getLogger("partial_fc")

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)

STEP = 2.0**-16  # resolution of ScoreCounts: a power of two, so that the edges of its bins are exact
_LOWEST = -1 - 2.0**-8 - STEP / 2  # rounding may take a float32 cosine beyond -1 or 1
_NUM_BINS = int(2 * (1 + 2.0**-8) / STEP)
_RANGE = [_LOWEST, _LOWEST + _NUM_BINS * STEP]
_AT_ONCE = 2**24  # OpenCV returns float32 counts, exact up to here
_BINS_IN_ONE = 512  # bins of ScoreCounts in one bin of a Histogram


class Curve(NamedTuple):
    """Points of a ROC curve for a plot: `far` (n,), strictly ascending, and `tar` (n,)."""

    far: np.ndarray
    tar: np.ndarray


class Histogram(NamedTuple):
    """Numbers of pairs with scores between `edges` (n + 1,): `same` (n,) person and `different` (n,) people."""

    edges: np.ndarray
    same: np.ndarray
    different: np.ndarray


class OperatingPoint(NamedTuple):
    """A threshold, and the shares of the genuine (`tar`) and of the impostor pairs (`far`) that it accepts."""

    threshold: float
    tar: float
    far: float


class Roc:
    """Receiver operating characteristic: TAR and FAR of every threshold.

    Args:
        thresholds: (m,) scores, strictly ascending.
        genuine, impostor: (m,) int64, numbers of pairs of each of these scores.

    Attributes:
        num_genuine, num_impostor: numbers of pairs of the same and of different people; either may be 0.
    """

    def __init__(self, thresholds: np.ndarray, genuine: np.ndarray, impostor: np.ndarray):
        used = np.flatnonzero(genuine + impostor)[::-1]
        self._thresholds = np.asarray(thresholds)[used]  # descending
        self._genuine, self._impostor = np.cumsum(genuine[used]), np.cumsum(impostor[used])  # accepted
        self.num_genuine, self.num_impostor = int(genuine.sum()), int(impostor.sum())

    @classmethod
    def from_scores(cls, scores: np.ndarray, issame: np.ndarray) -> "Roc":
        """Roc of the score of every pair, exact.

        Args:
            scores: (n,) float, higher for more alike.
            issame: (n,) bool.

        Raises:
            InputError: a score is not finite, or the lengths differ.
        """
        scores, issame = np.asarray(scores), np.asarray(issame, bool)
        if scores.ndim != 1 or scores.shape != issame.shape:
            raise InputError(f"scores of shape {scores.shape} for {issame.shape} pairs")
        finite = np.isfinite(scores)
        if not finite.all():
            raise InputError(f"the score of pair {int(np.argmin(finite))} is {scores[np.argmin(finite)]}")
        thresholds, of_score = np.unique(scores, return_inverse=True)
        counts = np.bincount(2 * of_score + issame, minlength=2 * len(thresholds)).reshape(-1, 2)
        return cls(thresholds, counts[:, 1], counts[:, 0])

    def at_far(self, far: float) -> Optional[OperatingPoint]:
        """The operating point of the highest TAR among those whose FAR is at most `far`.

        So at most floor(far · num_impostor) impostor pairs are accepted. InsightFace's IFRT means this by "with FAR
        less than 1e-6"; scripts that take the nearest or an interpolated FAR find the same TAR or a higher one. `far`
        is taken as the decimal number that it is written as.

        Returns:
            OperatingPoint of the lowest such threshold; None without genuine pairs, or with fewer than 1 / far impostor
            pairs, too few to distinguish this FAR from 0: see `why_not`.
        """
        if self.why_not(far):
            return None
        allowed = int(Fraction(repr(far)) * self.num_impostor)
        return self._point(int(np.searchsorted(self._impostor, allowed, side="right")) - 1)

    def why_not(self, far: float) -> Optional[str]:
        """The reason why `at_far` is None; None if it is not. Raises InputError unless `far` is in (0, 1]."""
        if not 0 < far <= 1:
            raise InputError(f"FAR {far} is not in (0, 1]")
        if not self.num_genuine:
            return "no genuine pairs"
        if Fraction(repr(far)) * self.num_impostor < 1:
            needed = -(-1 // Fraction(repr(far)))
            return f"FAR {far_name(far)} needs {needed:,} impostor pairs, there are {self.num_impostor:,}"
        return None

    def auc(self) -> Optional[float]:
        """Area under the curve: the probability that a genuine pair scores above an impostor pair, ties counted half.

        Mann and Whitney's U, divided by the number of combinations of both. None without pairs of one of the kinds.
        """
        if not self.num_genuine or not self.num_impostor:
            return None
        tar = np.append(0, self._genuine / self.num_genuine)
        far = np.append(0, self._impostor / self.num_impostor)
        return float(np.sum(np.diff(far) * (tar[1:] + tar[:-1])) / 2)

    def curve(self, num_points: int = 500) -> Curve:
        """The curve for a plot over the logarithm of the FAR: operating points at up to `num_points` FARs.

        The FARs are logarithmically spaced from one impostor pair to all of them; each point is exact.

        Returns:
            Curve of float64 (k,); empty without pairs of one of the kinds.
        """
        if not self.num_genuine or not self.num_impostor:
            return Curve(np.empty(0), np.empty(0))
        allowed = np.unique(np.geomspace(1, self.num_impostor, num_points).round().astype(np.int64))
        return Curve(allowed / self.num_impostor, self.accepted(allowed) / self.num_genuine)

    def accepted(self, impostors: np.ndarray) -> np.ndarray:
        """(k,) int64: genuine pairs that are accepted where at most `impostors`, (k,) ints, impostor pairs are."""
        places = np.searchsorted(self._impostor, impostors, side="right") - 1
        return np.append(self._genuine, 0)[places]  # place -1: nothing is accepted

    def _point(self, place: int) -> OperatingPoint:
        if place < 0:
            return OperatingPoint(float("inf"), 0.0, 0.0)
        return OperatingPoint(
            float(self._thresholds[place]),
            float(self._genuine[place] / self.num_genuine),
            float(self._impostor[place] / self.num_impostor),
        )


class ScoreCounts:
    """Numbers of pairs by cosine, for more pairs than scores fit in memory.

    Scores fall into bins of width STEP whose centers are multiples of STEP, so that cosines of 1, 0 and -1, which many
    pairs may share, fall into one bin even if they are rounded differently. Counts are exact, and so are TAR and FAR at
    an edge; the only error is that the best threshold for a FAR may lie between two edges.

    Attributes:
        edges: float64 (bins,), lower edges of the bins, exact.
        counts: int64 (bins,).
    """

    edges = np.arange(_NUM_BINS) * STEP + _LOWEST

    def __init__(self, counts: Optional[np.ndarray] = None):
        self.counts = np.zeros(_NUM_BINS, np.int64) if counts is None else counts

    @classmethod
    def of(cls, scores: np.ndarray) -> "ScoreCounts":
        """Count float32 cosines, of any shape. Raises InputError for one that is not finite, or beyond -1 or 1."""
        result, flat = cls(), np.ascontiguousarray(scores, np.float32).reshape(-1)
        for start in range(0, len(flat), _AT_ONCE):
            part = flat[start : start + _AT_ONCE]
            if not np.isfinite(part.sum()):
                raise InputError(f"{np.count_nonzero(~np.isfinite(part))} scores are not finite")
            counts = cv2.calcHist([part], [0], None, [_NUM_BINS], _RANGE)  # type: ignore[list-item]
            result.counts += counts.reshape(-1).astype(np.int64)
        if result.total != len(flat):  # what lies outside of the bins is left out
            raise InputError(f"{len(flat) - result.total} scores are not cosines, which lie between -1 and 1")
        return result

    @property
    def total(self) -> int:
        """Number of scores."""
        return int(self.counts.sum())

    def __add__(self, other: "ScoreCounts") -> "ScoreCounts":
        return ScoreCounts(self.counts + other.counts)

    def __sub__(self, other: "ScoreCounts") -> "ScoreCounts":
        return ScoreCounts(self.counts - other.counts)


def roc_of_counts(genuine: ScoreCounts, impostor: ScoreCounts) -> Roc:
    """Roc of two ScoreCounts; thresholds are the lower edges of the bins."""
    return Roc(ScoreCounts.edges, genuine.counts, impostor.counts)


def histogram_of_counts(genuine: ScoreCounts, impostor: ScoreCounts) -> Histogram:
    """Histogram of two ScoreCounts, over bins of 1/128."""
    edges = np.append(ScoreCounts.edges[::_BINS_IN_ONE], ScoreCounts.edges[-1] + STEP)
    return Histogram(edges, *(each.counts.reshape(-1, _BINS_IN_ONE).sum(axis=1) for each in (genuine, impostor)))


def far_name(far: float) -> str:
    """`1e-4` for 0.0001: the key of a false accept rate."""
    return np.format_float_scientific(far, trim="-", exp_digits=1)


def tar_figures(roc: Roc, fars: Sequence[float], name: str) -> Dict[str, Optional[float]]:
    """TARs by `far_name`, None where there are too few pairs; the log says how many are needed.

    Args:
        roc: Roc.
        fars: false accept rates.
        name: of what was measured, for the log.
    """
    points = {far: roc.at_far(far) for far in fars}
    missing = [far for far, point in points.items() if point is None]
    if missing:
        log.info("%s: no TAR at FAR %s: %s", name, ", ".join(map(far_name, missing)), roc.why_not(max(missing)))
    return {far_name(far): point and point.tar for far, point in points.items()}


def threshold_figures(roc: Roc, fars: Sequence[float]) -> Dict[str, Optional[float]]:
    """The thresholds of `tar_figures`, None also where no score is accepted."""
    points = {far: roc.at_far(far) for far in fars}
    return {
        far_name(far): point.threshold if point and point.tar + point.far else None for far, point in points.items()
    }
