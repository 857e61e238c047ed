"""What is unusual about the images of one identity, by their embeddings."""

from typing import NamedTuple, Tuple

import numpy as np

_ROUNDS = 20  # of two means; they settle after a few
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
        far, angles: images far from the mean of the others, and their angles in degrees, the farthest first.
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
    far = far[np.argsort(-angles[far], kind="stable")]
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

    Spherical k-means with two means, which start from the image farthest from the mean and from that farthest from it.
    A group of one image is no group: it is an image far from the mean. Without two groups the cosine is 1.
    """
    if len(vectors) < 4:
        return np.empty(0, np.int64), 1.0
    one = vectors[np.argmin(vectors @ vectors.sum(axis=0))]
    means = np.stack([vectors[np.argmin(vectors @ one)], one])
    group = np.full(len(vectors), -1)
    for _ in range(_ROUNDS):
        before, group = group, (vectors @ means.T).argmax(axis=1)
        counts = np.bincount(group, minlength=2)
        if (group == before).all() or counts.min() < 1:
            break
        means = np.stack([vectors[group == each].sum(axis=0) for each in range(2)])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    if counts.min() < 2:
        return np.empty(0, np.int64), 1.0
    return np.flatnonzero(group == counts.argmin()), float(means[0] @ means[1])
