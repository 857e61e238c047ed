"""Figures of a model on pairs of faces: accuracy, thresholds and accept rates, without and with mirror images."""

from typing import Any, Dict, List, Tuple

import numpy as np

from ...errors import InputError
from ..embedding import Embedder, check_finite, image_batches
from ..output import Result
from ..roc import FARS, Histogram, Roc, tar_figures
from .pair_sets import PairSet
from .verification import evaluate_distances, pair_distances

_SCORE_EDGES = np.linspace(-1, 1, 101)


def measure(embedder: Embedder, pairs: PairSet) -> Result:
    """Result of a model on a set of pairs.

    Figures: `accuracy`, `accuracy_std` of the images as they are; `accuracy_flip`, `accuracy_flip_std` of the sums with
    mirror images, as in training, and of these sums also `threshold`, `auc` and `tar`, None where there are too few
    pairs for a false accept rate; `threshold_no_flip`, `auc_no_flip`, `tar_no_flip` of the images as they are. `xnorm`
    is the mean norm of the embeddings, of images and mirror images, before they are added.

    Raises:
        InputError: images that cannot be read or have a size that the model does not take, embeddings that are not
            finite, fewer pairs than folds.
    """
    plain, mirrored = _embed(embedder, pairs)
    norms = [np.linalg.norm(embeddings, axis=1)[pairs.rows].mean() for embeddings in (plain, mirrored)]
    try:
        distances = [pair_distances(embeddings, pairs.rows) for embeddings in (plain, plain + mirrored)]
        accuracies = [evaluate_distances(each, pairs.issame) for each in distances]
    except ValueError as error:
        raise InputError(f"{embedder.name} on {pairs.name}: {error}") from error
    scores = [1 - each / 2 for each in distances]  # cosines, in the order of the distances; 1/2 with a row of zeros
    rocs = [Roc.from_scores(each, pairs.issame) for each in scores]
    tars = [tar_figures(roc, FARS[::-1], name) for roc, name in zip(rocs, (f"{pairs.name} without flip", pairs.name))]
    without, added = (
        {
            "accuracy": each.accuracy,
            "accuracy_std": each.accuracy_std,
            "threshold": each.threshold,
            "auc": roc.auc(),
            "tar": tar,
        }
        for each, roc, tar in zip(accuracies, rocs, tars)
    )
    common = {"pairs": len(pairs.issame), "xnorm": float(np.mean(norms))}
    histogram = Histogram(_SCORE_EDGES, *(_count(scores[1][kind]) for kind in (pairs.issame, ~pairs.issame)))
    return Result(
        "verification",
        pairs.name,
        embedder.name,
        _figures(common, without, added),
        {"": rocs[1].curve()},
        {"": histogram},
        embedder.settings,
        {"no": {**common, **without}, "added": {**common, **added}},
    )


def _figures(common: Dict[str, Any], without: Dict[str, Any], added: Dict[str, Any]) -> Dict[str, Any]:
    """The figures of `measure`: common ones, and those without and with mirror images."""
    return {
        "pairs": common["pairs"],
        "accuracy": without["accuracy"],
        "accuracy_std": without["accuracy_std"],
        "accuracy_flip": added["accuracy"],
        "accuracy_flip_std": added["accuracy_std"],
        "threshold": added["threshold"],
        "xnorm": common["xnorm"],
        "auc": added["auc"],
        "tar": added["tar"],
        **{f"{name}_no_flip": without[name] for name in ("threshold", "auc", "tar")},
    }


def _embed(embedder: Embedder, pairs: PairSet) -> Tuple[np.ndarray, np.ndarray]:
    """Embeddings of the images and of their mirror images, (n, D) float64 each."""
    plain: List[np.ndarray] = []
    mirrored: List[np.ndarray] = []
    for start, images in image_batches(pairs.read, len(pairs.images), embedder.batch_size):
        for parts, mirror in ((plain, False), (mirrored, True)):
            parts.append(embedder.embed(images, mirror))
            check_finite(parts[-1], pairs.name_of, start)
    return np.concatenate(plain).astype(np.float64), np.concatenate(mirrored).astype(np.float64)


def _count(scores: np.ndarray) -> np.ndarray:
    return np.histogram(np.clip(scores, -1, 1), _SCORE_EDGES)[0]
