"""1:1 verification of templates of IJB-B and IJB-C, as InsightFace's evaluation does it.

A template is a set of images of a person: still images, and frames of videos. Source: Whitelam et al., IARPA Janus
Benchmark-B (2017) and Maze et al., -C (2018) for the protocol; InsightFace's evaluation/IJB for how features become
templates: the embeddings of an image and of its mirror image are added; multiplied by the face detector's score;
averaged over the frames of a medium; summed over the media; and normalized. The script of Partial FC for MXNet,
recognition/partial_fc/mxnet/evaluation/ijb.py, normalizes the embeddings before it adds them; arcface_torch's
eval_ijbc.py and evaluation/IJB do not, so that the norm weights an image by its quality.
"""

import math
from typing import Any, Dict, Optional

import numpy as np

from ...data.progress import progress
from ...errors import InputError
from ..embedding import check_finite
from ..intervals import interval_figures
from ..mistakes import Verdicts
from ..output import Result
from ..roc import FARS, Roc, ScoreCounts, histogram_of_counts, tar_figures
from .ijb_lists import FaceList, TemplatePairs
from .unit_features import unit_or_nan, unit_rows

ADDED = {"unit": "normalized", "raw": "as they are", "as saved": "as saved"}  # words for reports
_ROWS_AT_ONCE = 4096
_FAR_OF_MISTAKES = 1e-4  # that of published results


def pool_templates(features: np.ndarray, faces: FaceList, halves: bool = False, unit: bool = False) -> np.ndarray:
    """Features of templates from features of images.

    Args:
        features: (n, D) float, possibly on the disk, of the images of `faces`, in that order.
        faces: the images and their templates.
        halves: whether a row is the embedding of an image, followed by that of its mirror image, as InsightFace's
            scripts save them; these are added.
        unit: whether the halves are divided by their norms first.

    Returns:
        (t, D) float32 unit vectors (D / 2 with `halves`), in the order of `faces.template_ids`; a row of zeros where
        the features of a template add up to zero.

    Raises:
        InputError: a feature is not finite, or `halves` of an odd D.
    """
    size = features.shape[1]
    if halves and size % 2:
        raise InputError(f"features of {size} numbers have no `halves`, of an image and of its mirror image")
    weights = faces.scores.astype(np.float64) / _images_of_medium(faces)
    sums = np.zeros((len(faces.template_ids), size // 2 if halves else size))
    for start in range(0, len(features), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        part = np.asarray(features[rows], np.float64)
        check_finite(part, faces.names.__getitem__, start)
        if halves:
            both = part[:, : size // 2], part[:, size // 2 :]
            part = unit_or_nan(both[0]) + unit_or_nan(both[1]) if unit else both[0] + both[1]
        _add_rows(sums, faces.templates[rows], part * weights[rows, None])
    return unit_rows(sums, "templates")


def compare_templates(templates: np.ndarray, pairs: TemplatePairs) -> np.ndarray:
    """(p,) float32 cosines of pairs of templates, (t, D) float32 unit vectors."""
    cosines = np.empty(len(pairs.first), np.float32)
    for start in progress(range(0, len(cosines), _ROWS_AT_ONCE), f"batches of {_ROWS_AT_ONCE} pairs"):
        rows = slice(start, start + _ROWS_AT_ONCE)
        np.einsum("ij,ij->i", templates[pairs.first[rows]], templates[pairs.second[rows]], out=cosines[rows])
    return cosines


def ijb_result(
    cosines: np.ndarray, pairs: TemplatePairs, dataset: str, model: str, settings: Optional[Dict[str, Any]] = None
) -> Result:
    """Result of (p,) float32 cosines of the pairs.

    Figures: numbers of pairs, `auc`, TAR at FAR 1e-6 to 1e-1 and its intervals.
    """
    roc = Roc.from_scores(cosines, pairs.issame)
    figures = {
        "pairs": {"same": roc.num_genuine, "different": roc.num_impostor},
        "auc": roc.auc(),
        "tar": tar_figures(roc, FARS, f"{model} on {dataset}"),
        "tar_interval": interval_figures(roc, FARS),
    }
    histogram = histogram_of_counts(ScoreCounts.of(cosines[pairs.issame]), ScoreCounts.of(cosines[~pairs.issame]))
    settings = settings or {}
    groups = {ADDED[settings["embeddings"]]: figures} if settings else {}
    return Result("ijb", dataset, model, figures, {"": roc.curve()}, {"": histogram}, settings, groups)


def judge_templates(cosines: np.ndarray, pairs: TemplatePairs) -> Verdicts:
    """Verdicts by the threshold for FAR 1e-4, or for the lowest FAR above it that there are enough pairs for; one fold.

    Args:
        cosines: (p,) float32 of the pairs.
        pairs: TemplatePairs.

    Raises:
        InputError: too few pairs for any FAR.
    """
    roc = Roc.from_scores(cosines, pairs.issame)
    points = [roc.at_far(far) for far in FARS if far >= _FAR_OF_MISTAKES]
    threshold = next((point.threshold for point in points if point and math.isfinite(point.threshold)), None)
    if threshold is None:
        raise InputError(f"`mistakes`: no threshold: {roc.why_not(FARS[-1]) or 'pairs of different people score best'}")
    wrong = (cosines >= threshold) != pairs.issame
    one_fold, one_threshold = (np.broadcast_to(each, wrong.shape) for each in (0, threshold))  # no memory for each pair
    return Verdicts(pairs.issame, cosines, one_fold, one_threshold, wrong, float(threshold), accepts_equal=True)


def best_faces(faces: FaceList) -> np.ndarray:
    """(t,) int64: for each template the row of the image of the highest detector's score, the first of equals."""
    order = np.lexsort((-np.arange(len(faces.scores)), faces.scores))
    rows = np.empty(len(faces.template_ids), np.int64)
    rows[faces.templates[order]] = order  # the last one of a template stays
    return rows


def _images_of_medium(faces: FaceList) -> np.ndarray:
    """(n,) int64: for each image the number of images of the same template and medium, itself included."""
    order = np.lexsort((faces.media, faces.templates))
    templates, media = faces.templates[order], faces.media[order]
    edges = np.flatnonzero((np.diff(templates) != 0) | (np.diff(media) != 0)) + 1
    counts = np.diff(edges, prepend=0, append=len(order))
    result = np.empty(len(order), np.int64)
    result[order] = np.repeat(counts, counts)
    return result


def _add_rows(sums: np.ndarray, places: np.ndarray, rows: np.ndarray) -> None:
    """As `np.add.at(sums, places, rows)`, but fast."""
    order = np.argsort(places, kind="stable")
    places = places[order]
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    sums[places[starts]] += np.add.reduceat(rows[order], starts, axis=0)
