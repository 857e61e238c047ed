"""Figures of a model on pairs of faces: accuracy, thresholds and accept rates, without and with mirror images."""

from typing import Any, Callable, Dict, List, NamedTuple, Tuple

import numpy as np

from ...errors import InputError
from ..embedding import Embedder, check_finite, image_batches
from ..intervals import interval_figures
from ..mistakes import Verdicts
from ..output import Result
from ..roc import FARS, Histogram, Roc, tar_figures, threshold_figures
from .pair_sets import PairSet
from .verification import evaluate_distances, fold_thresholds, pair_distances

_SCORE_EDGES = np.linspace(-1, 1, 101)
_FARS = FARS[::-1]


class PairDistances(NamedTuple):
    """Squared distances (P,) float64 of pairs of unit embeddings: of the images as they are (`plain`), and of the sums
    with mirror images (`added`). `xnorm` is the mean norm of the embeddings, before they are added."""

    plain: np.ndarray
    added: np.ndarray
    xnorm: float


def compare_pairs(embedder: Embedder, pairs: PairSet) -> PairDistances:
    """PairDistances of a set of pairs by a model.

    Raises:
        InputError: images that cannot be read or have a size that the model does not take, embeddings that are not
            finite.
    """
    plain, mirrored = embed_with_mirrors(embedder, pairs.read, len(pairs.images), pairs.name_of)
    norms = [np.linalg.norm(embeddings, axis=1)[pairs.rows].mean() for embeddings in (plain, mirrored)]
    without, added = (pair_distances(embeddings, pairs.rows) for embeddings in (plain, plain + mirrored))
    return PairDistances(without, added, float(np.mean(norms)))


def cosines(distances: np.ndarray) -> np.ndarray:
    """Cosines of squared distances of unit vectors, or of thresholds of these; 1/2 where one is a row of zeros."""
    return 1 - distances / 2


def verification_result(distances: PairDistances, pairs: PairSet, embedder: Embedder) -> Result:
    """Result of the distances of `pairs` by a model.

    Figures: `accuracy`, `accuracy_std` of the images as they are; `accuracy_flip`, `accuracy_flip_std` of the sums with
    mirror images, as in training, and of these sums also `threshold`, `auc`, `tar` with `tar_interval`, and the
    thresholds that belong to it, `cosine_threshold`, None where there are too few pairs for a false accept rate;
    `threshold_no_flip`, `auc_no_flip`, `tar_no_flip`, `tar_no_flip_interval` of the images as they are. `xnorm` is the
    mean norm of the embeddings, of images and mirror images, before they are added.

    Raises:
        InputError: fewer pairs than folds.
    """
    both = distances.plain, distances.added
    try:
        accuracies = [evaluate_distances(each, pairs.issame) for each in both]
    except ValueError as error:
        raise InputError(f"{embedder.name} on {pairs.name}: {error}") from error
    scores = [cosines(each) for each in both]
    rocs = [Roc.from_scores(each, pairs.issame) for each in scores]
    tars = [tar_figures(roc, _FARS, name) for roc, name in zip(rocs, (f"{pairs.name} without flip", pairs.name))]
    without, added = (
        {
            "accuracy": each.accuracy,
            "accuracy_std": each.accuracy_std,
            "threshold": each.threshold,
            "auc": roc.auc(),
            "tar": tar,
            "tar_interval": interval_figures(roc, _FARS),
        }
        for each, roc, tar in zip(accuracies, rocs, tars)
    )
    common = {"pairs": len(pairs.issame), "xnorm": distances.xnorm}
    figures = _figures(common, without, added, rocs[1])
    histogram = Histogram(_SCORE_EDGES, *(_count(scores[1][kind]) for kind in (pairs.issame, ~pairs.issame)))
    return Result(
        "verification",
        pairs.name,
        embedder.name,
        figures,
        {"": rocs[1].curve()},
        {"": histogram},
        {**embedder.settings, "checksum": embedder.checksum},
        {"no": {**common, **without}, "added": {**common, **added}},
    )


def judge(distances: PairDistances, pairs: PairSet) -> Verdicts:
    """Verdicts of the sums with mirror images, those that `accuracy_flip` counts; errors as `verification_result`."""
    chosen = fold_thresholds(distances.added, pairs.issame)
    thresholds = chosen.thresholds[chosen.folds]
    wrong = (distances.added < thresholds) != pairs.issame
    threshold = float(cosines(chosen.thresholds).mean())
    scores, thresholds = cosines(distances.added), cosines(thresholds)
    return Verdicts(pairs.issame, scores, chosen.folds, thresholds, wrong, threshold, accepts_equal=False)


def _figures(common: Dict[str, Any], without: Dict[str, Any], added: Dict[str, Any], roc: Roc) -> Dict[str, Any]:
    """The figures of the Result: common ones, those without and with mirror images, thresholds of `roc`."""
    return {
        "pairs": common["pairs"],
        "pairs_different": roc.num_impostor,
        "accuracy": without["accuracy"],
        "accuracy_std": without["accuracy_std"],
        "accuracy_flip": added["accuracy"],
        "accuracy_flip_std": added["accuracy_std"],
        "threshold": added["threshold"],
        "xnorm": common["xnorm"],
        "auc": added["auc"],
        "tar": added["tar"],
        "tar_interval": added["tar_interval"],
        "cosine_threshold": threshold_figures(roc, _FARS),
        **{f"{name}_no_flip": without[name] for name in ("threshold", "auc", "tar")},
        "tar_no_flip_interval": without["tar_interval"],
    }


def embed_with_mirrors(
    embedder: Embedder, read: Callable[[int], np.ndarray], count: int, name: Callable[[int], str]
) -> Tuple[np.ndarray, np.ndarray]:
    """Embeddings of images and of their mirror images, (n, D) float64 each.

    Args:
        embedder: of the model.
        read: function from an index below `count` to an image, see `image_batches`.
        count: number of images, n.
        name: function from an index to the name of the image, for messages.

    Raises:
        InputError: as `compare_pairs`.
    """
    plain: List[np.ndarray] = []
    mirrored: List[np.ndarray] = []
    for start, images in image_batches(read, count, embedder.batch_size):
        for parts, mirror in ((plain, False), (mirrored, True)):
            parts.append(embedder.embed(images, mirror))
            check_finite(parts[-1], name, start)
    return np.concatenate(plain).astype(np.float64), np.concatenate(mirrored).astype(np.float64)


def _count(scores: np.ndarray) -> np.ndarray:
    return np.histogram(np.clip(scores, -1, 1), _SCORE_EDGES)[0]
