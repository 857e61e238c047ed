"""Whether a model in another form gives the embeddings of the original: computed by both and compared."""

from typing import NamedTuple

import numpy as np

from ..errors import InputError

# Float32 sums in another order differ by about 1e-6 of the largest number; ten times as much per hundred layers.
TOLERANCE = 1e-4


class Difference(NamedTuple):
    """Of two sets of embeddings.

    Attributes:
        relative: largest absolute difference, relative to the largest number.
        cosine: smallest cosine between the embeddings of one image.
        images: how many were compared.
    """

    relative: float
    cosine: float
    images: int

    def __str__(self) -> str:
        return (
            f"{self.images} images: largest difference {self.relative:.1e} of the largest number, "
            f"smallest cosine {self.cosine:.7f}"
        )


def difference(expected: np.ndarray, found: np.ndarray) -> Difference:
    """Compare embeddings (n, D) of the same images by two programs."""
    expected, found = expected.astype(np.float64), found.astype(np.float64)
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    cosines = (expected * found).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)
    return Difference(float(np.abs(expected - found).max() / np.abs(expected).max()), float(cosines.min()), len(found))


def check_same(expected: np.ndarray, found: np.ndarray, what: str) -> Difference:
    """The difference of embeddings (n, D) of the same images.

    Raises:
        InputError: naming `what`, if they differ by more than float32 rounding does.
    """
    if expected.shape != found.shape:
        raise InputError(f"{what}: embeddings of shape {found.shape}, MXNet's are {expected.shape}")
    result = difference(expected, found)
    if not result.relative <= TOLERANCE:
        raise InputError(f"{what}: does not give the embeddings that MXNet computes ({result})")
    return result


def random_images(count: int, size: tuple, seed: int = 0) -> np.ndarray:
    """(count, H, W, 3) uint8 noise, on which a wrong scaling or order of colors shows."""
    return np.random.RandomState(seed).randint(0, 256, (count, *size, 3)).astype(np.uint8)
