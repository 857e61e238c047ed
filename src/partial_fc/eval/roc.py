"""How many genuine pairs are accepted at a given rate of false accepts: exact, from scores or from counts of scores.

A pair is accepted where its score is at least the threshold. The true accept rate (TAR) and the false accept rate (FAR)
are the shares of the genuine and of the impostor pairs that are accepted (ISO/IEC 19795-1). So pairs of equal score are
accepted together or not at all.
"""

from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np

from ..errors import InputError

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)

STEP = 2.0**-16  # resolution of ScoreCounts: a power of two, so that the edges of its bins are exact
_LOWEST = -1 - 2.0**-8 - STEP / 2  # cosines in float32 may reach over 1
_NUM_BINS = int(2 * (1 + 2.0**-8) / STEP)
_RANGE = [_LOWEST, _LOWEST + _NUM_BINS * STEP]
_AT_ONCE = 2**24  # OpenCV returns float32 counts, exact up to here


class OperatingPoint(NamedTuple):
    """The pairs accepted from a threshold on: share of the genuine (`tar`) and of the impostor pairs (`far`)."""

    threshold: float
    tar: float
    far: float


class Roc:
    """Receiver operating characteristic: what every threshold accepts.

    Attributes:
        num_genuine, num_impostor: pairs of the same and of different people; either may be 0.
    """

    def __init__(self, thresholds, genuine, impostor):
        """From how many pairs have which score.

        Args:
            thresholds: (m,) scores, strictly ascending.
            genuine, impostor: (m,) int64, pairs of that score.
        """
        used = np.flatnonzero(genuine + impostor)[::-1]
        self._thresholds = np.asarray(thresholds)[used]  # descending
        self._genuine, self._impostor = np.cumsum(genuine[used]), np.cumsum(impostor[used])  # accepted
        self.num_genuine, self.num_impostor = int(genuine.sum()), int(impostor.sum())

    @classmethod
    def from_scores(cls, scores, issame):
        """Exact, from every pair's score.

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

    def at_far(self, far):
        """The operating point of the highest TAR among those whose FAR is at most `far`.

        So no more than floor(far · num_impostor) impostor pairs are accepted: the reading of "with FAR less than 1e-6"
        in InsightFace's IFRT, and a lower bound to what scripts find that take the nearest or an interpolated FAR.
        `far` is meant as it is written in decimals.

        Returns:
            OperatingPoint, of the lowest such threshold; None where there are no genuine pairs, or fewer than 1 / far
            impostor pairs, so that the FAR cannot be told from 0: see `why_not`.
        """
        if self.why_not(far):
            return None
        allowed = int(Fraction(repr(far)) * self.num_impostor)
        return self._point(int(np.searchsorted(self._impostor, allowed, side="right")) - 1)

    def why_not(self, far):
        """Why there is no operating point at `far`; None where there is one."""
        if not 0 < far <= 1:
            raise InputError(f"FAR {far} is not in (0, 1]")
        if not self.num_genuine:
            return "no genuine pairs"
        if Fraction(repr(far)) * self.num_impostor < 1:
            needed = -(-1 // Fraction(repr(far)))
            return f"FAR {far:g} needs {needed:,} impostor pairs, there are {self.num_impostor:,}"
        return None

    def auc(self):
        """Area under the curve: the probability that a genuine pair scores above an impostor one, ties counted half.

        (Mann and Whitney's U, over the number of such couples of pairs.) None where one of the kinds is missing.
        """
        if not self.num_genuine or not self.num_impostor:
            return None
        tar = np.append(0, self._genuine / self.num_genuine)
        far = np.append(0, self._impostor / self.num_impostor)
        return float(np.sum(np.diff(far) * (tar[1:] + tar[:-1])) / 2)

    def curve(self, num_points=500):
        """The curve for a plot over the logarithm of the FAR: operating points at up to `num_points` FARs.

        The FARs are logarithmically spaced from one impostor pair to all of them; each point is exact.

        Returns:
            far, tar: float64 (k,), FAR strictly ascending; empty where one of the kinds is missing.
        """
        if not self.num_genuine or not self.num_impostor:
            return np.empty(0), np.empty(0)
        allowed = np.unique(np.geomspace(1, self.num_impostor, num_points).round().astype(np.int64))
        places = np.searchsorted(self._impostor, allowed, side="right") - 1
        accepted = np.append(self._genuine, 0)[places]  # place -1: nothing is accepted
        return allowed / self.num_impostor, accepted / self.num_genuine

    def _point(self, place):
        if place < 0:
            return OperatingPoint(float("inf"), 0.0, 0.0)
        return OperatingPoint(
            float(self._thresholds[place]),
            float(self._genuine[place] / self.num_genuine),
            float(self._impostor[place] / self.num_impostor),
        )


class ScoreCounts:
    """How many pairs have which cosine, for numbers of pairs whose scores cannot be kept.

    Scores fall into bins of width STEP, the middles of which are whole multiples of it: so that cosines of 1, 0 and -1,
    which many pairs may share, stay together when they are rounded differently. Counts are exact, and so are TAR and
    FAR at an edge; the only error is that a FAR's best threshold may lie between two edges.

    Attributes:
        edges: float64 (bins,), the lower ones, exact.
        counts: int64 (bins,).
    """

    edges = np.arange(_NUM_BINS) * STEP + _LOWEST

    def __init__(self, counts=None):
        self.counts = np.zeros(_NUM_BINS, np.int64) if counts is None else counts

    @classmethod
    def of(cls, scores):
        """Count float32 cosines, an array of any shape. Raises InputError for one that is not finite, or beyond ±1."""
        result, flat = cls(), np.ascontiguousarray(scores, np.float32).reshape(-1)
        for start in range(0, len(flat), _AT_ONCE):
            part = flat[start : start + _AT_ONCE]
            if not np.isfinite(part.sum()):
                raise InputError(f"{np.count_nonzero(~np.isfinite(part))} scores are not finite")
            counts = cv2.calcHist([part], [0], None, [_NUM_BINS], _RANGE)
            result.counts += counts.reshape(-1).astype(np.int64)
        if result.total != len(flat):  # what lies outside of the bins is left out
            raise InputError(f"{len(flat) - result.total} scores are not cosines, which lie between -1 and 1")
        return result

    @property
    def total(self):
        """Number of scores."""
        return int(self.counts.sum())

    def __add__(self, other):
        return ScoreCounts(self.counts + other.counts)

    def __sub__(self, other):
        return ScoreCounts(self.counts - other.counts)


def roc_of_counts(genuine, impostor):
    """Roc of two ScoreCounts; thresholds are the bins' lower edges."""
    return Roc(ScoreCounts.edges, genuine.counts, impostor.counts)
