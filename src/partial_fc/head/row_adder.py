"""Sums of rows that belong to the same class."""

from typing import Optional

import mxnet as mx
import numpy as np


class RowAdder:
    """matrix[columns[i]] += values[i] for every i with columns[i] >= 0; columns may repeat.

    A sparse 0/1 matrix adds up the values of each distinct column, in the order of the batch. To make it waits for the
    device, to use it does not.

    Args:
        columns: (B,) int64.
        ctx: device.

    Attributes:
        distinct: (p,) int64, the columns in ascending order, each once.
    """

    def __init__(self, columns: np.ndarray, ctx: mx.Context) -> None:
        local = np.flatnonzero(columns >= 0)
        self.distinct, position = np.unique(columns[local], return_inverse=True)
        if len(local):
            by_column = local[np.argsort(position, kind="stable")]
            starts = np.concatenate([[0], np.cumsum(np.bincount(position))])
            ones, shape = np.ones(len(local), np.float32), (len(self.distinct), len(columns))
            self._sums = mx.nd.sparse.csr_matrix((ones, by_column, starts), shape=shape, ctx=ctx)
            self._rows = mx.nd.array(self.distinct, ctx=ctx, dtype="int64")

    def sums(self, values: mx.nd.NDArray) -> Optional[mx.nd.NDArray]:
        """Sums (n, D) of the rows of `values` (B, D), one for each distinct column; None if there is no column."""
        return mx.nd.sparse.dot(self._sums, values) if len(self.distinct) else None

    def add(self, sums: Optional[mx.nd.NDArray], block: slice, rows: mx.nd.NDArray) -> None:
        """Add what `sums` returned to the rows `block` of the matrix, (block.stop - block.start, D), in place."""
        first, end = np.searchsorted(self.distinct, [block.start, block.stop])
        if sums is not None and first < end:
            positions = self._rows[first:end] - block.start
            rows[positions] = mx.nd.take(rows, positions) + sums[first:end]
