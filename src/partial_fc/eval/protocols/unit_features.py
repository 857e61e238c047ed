"""Embeddings as unit vectors."""

import numpy as np

from ...errors import InputError

_ROWS_AT_ONCE = 4096


def unit_rows(rows: np.ndarray, name: str, first: int = 0) -> np.ndarray:
    """Rows divided by their Euclidean norms; rows of zeros stay zeros, so that their cosine with any other is 0.

    Args:
        rows: (n, D) float.
        name: of the matrix, for the message.
        first: number of the first row, for the message.

    Returns:
        (n, D) float32, contiguous.

    Raises:
        InputError: a row is not finite.
    """
    return _scaled(rows, _scales(rows, name, first))


def unit_or_nan(rows: np.ndarray) -> np.ndarray:
    """As `unit_rows`, but a row that is not finite stays so, for the caller to check."""
    with np.errstate(invalid="ignore"):
        return _scaled(rows, _inverse(_norms(rows)))


class UnitFeatures:
    """Rows of a matrix as unit vectors, see `unit_rows`, computed at each use, so that the matrix may stay on the disk.

    Args:
        features: (n, D) float, read once from beginning to end.
        name: of the matrix, for the message.

    Raises:
        InputError: a row is not finite.
    """

    def __init__(self, features: np.ndarray, name: str):
        self._features = features
        starts = range(0, len(features), _ROWS_AT_ONCE)
        scales = [_scales(features[start : start + _ROWS_AT_ONCE], name, start) for start in starts]
        self._scales = np.concatenate([np.empty(0, np.float32), *scales])

    def rows(self, places: np.ndarray) -> np.ndarray:
        """(m, D) float32 rows at `places`, (m,) int64."""
        return _scaled(self._features[places], self._scales[places])


def _scales(rows: np.ndarray, name: str, first: int) -> np.ndarray:
    """(n,) float32: one over the norm of each row, 1 for rows of zeros."""
    norms = _norms(rows)
    if not np.isfinite(norms).all():
        raise InputError(f"{name}: row {first + int(np.argmin(np.isfinite(norms)))} (counted from 0) is not finite")
    return _inverse(norms)


def _norms(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.asarray(rows, np.float64), axis=1)


def _inverse(norms: np.ndarray) -> np.ndarray:
    return (1 / np.where(norms, norms, 1)).astype(np.float32)


def _scaled(rows: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return np.multiply(rows, scales[:, None], dtype=np.float32, casting="same_kind")
