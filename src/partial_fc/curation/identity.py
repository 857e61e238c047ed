"""What is unusual about the images of one identity, by their embeddings."""

from typing import NamedTuple, Tuple

import numpy as np

_ROUNDS, _STARTS = 20, 3  # of two means; they settle after a few rounds
_AT_ONCE = 1024  # rows of products


class Limits(NamedTuple):
    """What counts as unusual.

    Attributes:
        far: angle in degrees between an image and the mean of the others.
        duplicate: cosine of two images.
        apart: cosine between the means of two groups of images.
    """

    far: float
    duplicate: float
    apart: float


class Findings(NamedTuple):
    """Places of images, (m,) int64 each.

    Attributes:
        far, angles: images far from the mean of the others, and their angles in degrees, the farthest first; of an
            identity of two images both, as either may be wrong.
        duplicates, originals, cosines: images that are nearly equal to an earlier one, and the first such one.
        second: the smaller of two groups of images that are apart; none if there is one group.
        apart: cosine between the means of the two groups; 1 if there is one group.
    """

    far: np.ndarray
    angles: np.ndarray
    duplicates: np.ndarray
    originals: np.ndarray
    cosines: np.ndarray
    second: np.ndarray
    apart: float

    @property
    def num_images(self) -> int:
        """Number of images of which something was found."""
        return len({*self.far.tolist(), *self.duplicates.tolist(), *self.second.tolist()})


def examine(vectors: np.ndarray, limits: Limits) -> Findings:
    """What is unusual about an identity.

    Args:
        vectors: unit embeddings of its images, (n, D) float32.
        limits: see Limits.
    """
    angles = angles_to_others(vectors)
    far = np.flatnonzero(angles > limits.far)
    far = far[np.argsort(-angles[far].round(3), kind="stable")]  # two images have one angle, but for rounding
    second, apart = two_groups(vectors)
    if apart >= limits.apart:
        second, apart = second[:0], 1.0
    return Findings(far, angles[far], *near_duplicates(vectors, limits.duplicate), second, apart)


def angles_to_others(vectors: np.ndarray) -> np.ndarray:
    """Angle in degrees between each image and the mean of the others, (n,); 0 if there are no others.

    The image itself is left out of the mean, since it would be close to the mean of a few images that it is one of.
    """
    if len(vectors) < 2:
        return np.zeros(len(vectors))
    others = vectors.sum(axis=0, dtype=np.float64) - vectors
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(vectors, axis=1)
    cosine = np.einsum("nd,nd->n", others, vectors) / np.maximum(lengths, np.finfo(np.float32).tiny)
    return np.degrees(np.arccos(cosine.clip(-1, 1)))


def near_duplicates(vectors: np.ndarray, limit: float) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images with a cosine of `limit` or more to an earlier one that is no duplicate itself, that one, the cosine."""
    found = []
    is_copy = np.zeros(len(vectors), bool)
    for start in range(0, len(vectors), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(vectors)))
        products = vectors[rows] @ vectors[: rows[-1] + 1].T
        close = (products >= limit) & (np.arange(rows[-1] + 1) < rows[:, None])
        for row in np.flatnonzero(close.any(axis=1)).tolist():
            originals = np.flatnonzero(close[row] & ~is_copy[: rows[-1] + 1])
            if len(originals):
                is_copy[start + row] = True
                found.append((start + row, originals[0], products[row, originals[0]]))
    copies, originals, cosines = np.array(found).reshape(-1, 3).T
    return copies.astype(np.int64), originals.astype(np.int64), np.minimum(cosines, 1)


def two_groups(vectors: np.ndarray) -> Tuple[np.ndarray, float]:
    """The smaller of the two groups into which the images fall most easily, (m,) int64, and their means' cosine.

    A group of one image is no group: it is an image far from the mean, without which the rest is divided again, as
    long as four images remain. Without two groups the cosine is 1.
    """
    places = np.arange(len(vectors))
    while len(places) >= 4:
        smaller, cosine = _two_means(vectors[places])
        if len(smaller) != 1:
            return places[smaller], cosine
        places = np.delete(places, smaller)
    return places[:0], 1.0


def _two_means(vectors: np.ndarray) -> Tuple[np.ndarray, float]:
    """The smaller of two groups, (m,) int64, and the cosine of the groups' means; no group and 1 if all are equal.

    Of several divisions the one whose groups are closest to their means.
    """
    farthest = np.argsort(vectors @ vectors.sum(axis=0), kind="stable")[:_STARTS]
    _, smaller, cosine = max((_division(vectors, vectors[start]) for start in farthest), key=lambda each: each[0])
    return smaller, cosine


def _division(vectors: np.ndarray, start: np.ndarray) -> Tuple[float, np.ndarray, float]:
    """Sum of the cosines to the means of two groups, the smaller group, (m,) int64, and the cosine of the means.

    Spherical k-means with two means, which begin at `start`, (D,), and at the image that is farthest from it.
    """
    means = np.stack([vectors[np.argmin(vectors @ start)], start])
    group = np.full(len(vectors), -1)
    for _ in range(_ROUNDS):
        cosines = vectors @ means.T
        before, group = group, cosines.argmax(axis=1)
        counts = np.bincount(group, minlength=2)
        if counts.min() < 1:
            return -np.inf, np.empty(0, np.int64), 1.0
        if (group == before).all():
            break
        means = np.stack([vectors[group == each].sum(axis=0) for each in range(2)])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return float(cosines.max(axis=1).sum()), np.flatnonzero(group == counts.argmin()), float(means[0] @ means[1])
