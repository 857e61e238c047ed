"""InsightFace's k-fold protocol for the accuracy of face verification.

The embeddings of an image and of its mirror image are added and normalized; a pair is judged to be the same person if
the squared Euclidean distance of its two embeddings is below a threshold. Each fold is judged by the threshold that is
best on all other folds, as in the protocol of Labeled Faces in the Wild (Huang et al. 2007).
"""

from typing import Callable, NamedTuple, Optional

import numpy as np

THRESHOLDS = np.arange(0, 4, 0.01)  # squared distances of unit vectors reach 4
THRESHOLDS.setflags(write=False)
NUM_FOLDS = 10
_ROWS_AT_ONCE = 1024


class NotFinite(ValueError):
    """An embedding is not finite."""


class VerificationResult(NamedTuple):
    """Mean and standard deviation of the folds' accuracies, and the mean of the folds' thresholds.

    `xnorm` is the mean norm of the network's embeddings, of images and mirror images, before they are added; None from
    `evaluate`, which has only the sums.
    """

    accuracy: float
    accuracy_std: float
    threshold: float
    xnorm: Optional[float] = None


def evaluate(embeddings: np.ndarray, issame: np.ndarray, num_folds: int = NUM_FOLDS) -> VerificationResult:
    """Accuracy of `embeddings` `(2P, D)`, rows 2p and 2p+1 being pair p, against `issame` `(P,)`.

    Rows need not be normalized; a row of zeros stays zero. Raises ValueError for shapes that do not fit, for embeddings
    that are not finite, and as `evaluate_distances` does.
    """
    embeddings = np.asarray(embeddings)
    issame = _checked_pairs(len(embeddings), issame, num_folds)
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings of shape {embeddings.shape}, expected (2 * pairs, embedding size)")
    return evaluate_distances(pair_distances(embeddings, np.arange(len(embeddings))), issame, num_folds)


def pair_distances(embeddings: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Squared distances `(P,)` float64, 0 to 4, of the normalized `embeddings` `(n, D)` of pairs of images.

    `rows`: `(2P,)` ints, those of pair p at 2p and 2p+1. Pairs are computed in blocks to save memory. Raises ValueError
    for an embedding that is not finite, named by its place in `rows`.
    """
    return np.concatenate(
        [
            _pair_distances(embeddings[rows[start : start + _ROWS_AT_ONCE]], start)
            for start in range(0, len(rows), _ROWS_AT_ONCE)
        ]
    )


def evaluate_distances(distances: np.ndarray, issame: np.ndarray, num_folds: int = NUM_FOLDS) -> VerificationResult:
    """Accuracy by the `distances` `(P,)` of pairs, see `pair_distances`, against `issame` `(P,)`.

    Folds are contiguous and differ by at most one pair, the longer ones first. The lowest of equally good thresholds is
    used. With `num_folds` = 1, the threshold is chosen and tested on the same pairs. A set may have pairs of one kind
    only. Raises ValueError for fewer pairs than folds.
    """
    issame = _checked_pairs(2 * len(distances), issame, num_folds)
    chosen = fold_thresholds(distances, issame, num_folds)
    right = (distances < chosen.thresholds[chosen.folds]) == issame
    accuracies = np.array([right[chosen.folds == fold].mean() for fold in range(num_folds)])
    return VerificationResult(float(accuracies.mean()), float(accuracies.std()), float(chosen.thresholds.mean()))


class FoldThresholds(NamedTuple):
    """`folds` `(P,)` int64: the fold of each pair, from 0 on; `thresholds` `(folds,)`: by which each fold is judged."""

    folds: np.ndarray
    thresholds: np.ndarray


def fold_thresholds(distances: np.ndarray, issame: np.ndarray, num_folds: int = NUM_FOLDS) -> FoldThresholds:
    """The FoldThresholds by which `evaluate_distances` judges pairs; arguments and errors as there."""
    issame = _checked_pairs(2 * len(distances), issame, num_folds)
    folds = np.array_split(np.arange(len(issame)), num_folds)
    correct = np.stack([_num_correct(distances[fold], issame[fold]) for fold in folds])  # (folds, 400)
    train_correct = correct.sum(axis=0) - correct if num_folds > 1 else correct
    best = np.argmax(train_correct, axis=1)  # the first of equals
    return FoldThresholds(np.repeat(np.arange(num_folds), [len(fold) for fold in folds]), THRESHOLDS[best])


def verify(
    embed: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    issame: np.ndarray,
    num_folds: int = NUM_FOLDS,
    batch_size: int = 128,
) -> VerificationResult:
    """Accuracy of `embed`, a function from uint8 RGB `(n, H, W, 3)` to embeddings `(n, D)`, on pairs.

    `images`: uint8 `(2P, H, W, 3)`, those of pair p at 2p and 2p+1; `issame`: `(P,)`. `embed` gets every image and its
    mirror image, at most `batch_size` (even) images per call. Only distances are kept, so D may be large. Raises
    ValueError as `evaluate` does.
    """
    issame = _checked_pairs(len(images), issame, num_folds)
    if batch_size < 2 or batch_size % 2:
        raise ValueError(f"batch_size {batch_size} must be even: a batch holds whole pairs")
    distances, norms = [], []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        plain = _checked_embeddings(embed(batch), len(batch))
        mirrored = _checked_embeddings(embed(np.ascontiguousarray(batch[:, :, ::-1])), len(batch))
        norms += [np.linalg.norm(plain, axis=1), np.linalg.norm(mirrored, axis=1)]
        distances.append(_pair_distances(plain + mirrored, start))
    result = evaluate_distances(np.concatenate(distances), issame, num_folds)
    return result._replace(xnorm=float(np.mean(np.concatenate(norms))))


def pixel_embeddings(images: np.ndarray) -> np.ndarray:
    """Images `(n, H, W, 3)` as float32 embeddings `(n, H*W*3)` in [-1, 1], the baseline of no network."""
    return ((np.asarray(images, dtype=np.float32) - 127.5) / 128).reshape(len(images), -1)


def _checked_pairs(num_rows: int, issame: np.ndarray, num_folds: int) -> np.ndarray:
    issame = np.asarray(issame)
    if issame.ndim != 1 or issame.dtype.kind not in "biu" or num_rows != 2 * len(issame):
        raise ValueError(
            f"{num_rows} rows for issame of shape {issame.shape} and type {issame.dtype}: "
            "expected two rows for each of its booleans"
        )
    if not 1 <= num_folds <= len(issame):
        raise ValueError(f"{len(issame)} pairs cannot be split into {num_folds} folds")
    return issame.astype(bool)


def _checked_embeddings(embeddings: np.ndarray, num_rows: int) -> np.ndarray:
    embeddings = np.asarray(embeddings, dtype=np.float64)
    if embeddings.ndim != 2 or len(embeddings) != num_rows:
        raise ValueError(f"embed returned shape {embeddings.shape} for {num_rows} images")
    return embeddings


def _pair_distances(embeddings: np.ndarray, first_row: int) -> np.ndarray:
    """Squared distances `(n,)` between rows 2i and 2i+1 of `embeddings` `(2n, D)`, normalized, in float64."""
    embeddings = embeddings.astype(np.float64)
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)  # (2n, 1)
    if not np.isfinite(norms).all():
        row = first_row + int(np.argmin(np.isfinite(norms)))
        raise NotFinite(f"the embedding of image {row} is not finite")
    embeddings /= np.where(norms == 0, 1, norms)
    return np.square(embeddings[0::2] - embeddings[1::2]).sum(axis=1)


def _num_correct(distances: np.ndarray, issame: np.ndarray) -> np.ndarray:
    """`(400,)`: number of pairs that each threshold judges correctly; the same person if distance < threshold."""
    same_below = np.searchsorted(np.sort(distances[issame]), THRESHOLDS, side="left")
    different_below = np.searchsorted(np.sort(distances[~issame]), THRESHOLDS, side="left")
    return same_below + np.count_nonzero(~issame) - different_below
