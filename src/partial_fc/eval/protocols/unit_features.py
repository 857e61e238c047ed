"""Embeddings as unit vectors."""

import numpy as np

from ...errors import InputError

_ROWS_AT_ONCE = 4096


def unit_rows(rows, name, first=0):
    """Rows divided by their Euclidean norms; rows of zeros stay zeros, so that they are like nothing (cosine 0).

    Args:
        rows: (n, D) float.
        name: of what they are, for the message.
        first: number of the first row, for the message.

    Returns:
        (n, D) float32, contiguous.

    Raises:
        InputError: a row is not finite.
    """
    return _scaled(rows, _scales(rows, name, first))


def unit_or_nan(rows):
    """As `unit_rows`, of rows for which the caller checks that they are finite: others have values that are not."""
    with np.errstate(invalid="ignore"):
        return _scaled(rows, _inverse(_norms(rows)))


class UnitFeatures:
    """Rows of a matrix as unit vectors, see `unit_rows`, of which none is kept: the matrix may be a file's.

    Args:
        features: (n, D) float, read once from beginning to end.
        name: of it, for the message.

    Raises:
        InputError: a row is not finite.
    """

    def __init__(self, features, name):
        self._features = features
        starts = range(0, len(features), _ROWS_AT_ONCE)
        scales = [_scales(features[start : start + _ROWS_AT_ONCE], name, start) for start in starts]
        self._scales = np.concatenate([np.empty(0, np.float32), *scales])

    def rows(self, places):
        """(m, D) float32 rows at `places`, (m,) int64."""
        return _scaled(self._features[places], self._scales[places])


def _scales(rows, name, first):
    """(n,) float32: one over the norm of each row, 1 for rows of zeros."""
    norms = _norms(rows)
    if not np.isfinite(norms).all():
        raise InputError(f"{name}: row {first + int(np.argmin(np.isfinite(norms)))} (counted from 0) is not finite")
    return _inverse(norms)


def _norms(rows):
    return np.linalg.norm(np.asarray(rows, np.float64), axis=1)


def _inverse(norms):
    return (1 / np.where(norms, norms, 1)).astype(np.float32)


def _scaled(rows, scales):
    return np.multiply(rows, scales[:, None], dtype=np.float32, casting="same_kind")
