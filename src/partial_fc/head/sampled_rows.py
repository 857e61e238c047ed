"""The centers that take part in an update, and where the classes of its samples are among them."""

from typing import List, NamedTuple, Optional

import numpy as np

from ..errors import InputError


class SampledRows(NamedTuple):
    """Rows sampled for an update, chosen on the host before the forward pass.

    Attributes:
        rows: (C,) int64 rows of the bank that take part; None for all of them.
        columns: (B,) int64, position of each sample's class among these rows; -1 if it is on another rank.
        requests: the ranks' requests, combined by bitwise or.
        num_update: the update, counted from 0, that they were chosen for.
        world_size: ranks, from each of which B / world_size samples come, one rank after the other.
        part, parts: number of the micro-batch that the samples are of, and how many the update has.
        all_columns: `columns` of the whole batch, where this is a micro-batch.
    """

    rows: Optional[np.ndarray]
    columns: np.ndarray
    requests: int = 0
    num_update: int = 0
    world_size: int = 1
    part: int = 0
    parts: int = 1
    all_columns: Optional[np.ndarray] = None

    def positives(self) -> np.ndarray:
        """(p,) int64, ascending columns of the classes of the whole batch, each once."""
        columns = self.columns if self.all_columns is None else self.all_columns
        return np.unique(columns[columns >= 0])

    def micro_batches(self, count: int) -> List["SampledRows"]:
        """The choice for a whole batch as one for each of its micro-batches, which all have the rows of the batch.

        Micro-batch i has the samples [i b / count, (i + 1) b / count) of the b of every rank.

        Raises:
            InputError: b is no multiple of `count`.
        """
        if count == 1:
            return [self]
        size = len(self.columns) // self.world_size
        if size % count:
            raise InputError(f"a batch of {size} samples per rank does not consist of {count} equal micro-batches")
        columns = self.columns.reshape(self.world_size, count, -1)
        whole = self._replace(parts=count, all_columns=self.columns)
        return [whole._replace(columns=columns[:, part].reshape(-1), part=part) for part in range(count)]
