"""The closest neighbors of each class above a threshold, in memory that the threshold cannot make grow."""

from typing import Any, Dict, Iterator, NamedTuple, Tuple

import numpy as np

from ..errors import InputError

_MOST_NEIGHBORS = 20_000_000  # in all pairs; each takes up to 200 bytes until the pairs are written
_AT_ONCE = 2**16  # pairs that are Python objects at a time


class Pairs(NamedTuple):
    """Pairs of classes, the closest first.

    Attributes:
        first, second: places of the classes, (m,) int64.
        cosine: (m,) float32.
    """

    first: np.ndarray
    second: np.ndarray
    cosine: np.ndarray

    def chosen(self, which: np.ndarray) -> "Pairs":
        """The pairs at the places `which`, (n,) int64, or those where it is true, (m,) bool."""
        return Pairs(*(each[which] for each in self))

    def rows(self) -> Iterator[Tuple[int, int, float]]:
        """Yield the pairs as Python numbers; few of them are in memory at a time."""
        for start in range(0, len(self.first), _AT_ONCE):
            yield from zip(*(each[start : start + _AT_ONCE].tolist() for each in self))

    def as_dictionaries(self) -> Iterator[Dict[str, Any]]:
        """Yield the pairs as values for JSON, with six digits of the cosine."""
        for first, second, cosine in self.rows():
            yield {"first": first, "second": second, "cosine": round(cosine, 6)}


class Nearest:
    """For each of n classes its k closest neighbors among those that were added; equally close ones by their number.

    The result does not depend on the order in which pairs are added. Memory is at most 8 n k bytes, and no more than
    the neighbors that were found need: pages without any are never written.

    Args:
        num_classes: n, less than 2^31.
        most: k.
    """

    def __init__(self, num_classes: int, most: int) -> None:
        self._most = most
        self._cosine = np.zeros((num_classes, most), np.float32)  # 0: none; a cosine that was found is above 0
        self._other = np.zeros((num_classes, most), np.int32)

    def add(self, first: np.ndarray, second: np.ndarray, cosine: np.ndarray) -> None:
        """Add pairs of classes, each pair once: their numbers, (m,) int64, and their cosines, (m,) float32 above 0."""
        rows, others = np.concatenate([first, second]), np.concatenate([second, first])
        cosines = np.concatenate([cosine, cosine])
        last, last_other = self._cosine[rows, -1], self._other[rows, -1]
        closer = np.flatnonzero((cosines > last) | ((cosines == last) & (others < last_other)))
        if len(closer):
            order = closer[np.lexsort((others[closer], -cosines[closer], rows[closer]))]
            self._merge(rows[order], others[order], cosines[order])

    def _merge(self, rows: np.ndarray, others: np.ndarray, cosines: np.ndarray) -> None:
        """Merge neighbors that are sorted by row, then by cosine and number, with those that are there."""
        changed, starts, index = np.unique(rows, return_index=True, return_inverse=True)
        place = np.arange(len(rows)) - starts[index]
        kept = place < self._most
        where = index[kept], self._most + place[kept]
        cosine = np.pad(self._cosine[changed], ((0, 0), (0, self._most)))
        other = np.pad(self._other[changed], ((0, 0), (0, self._most)))
        cosine[where], other[where] = cosines[kept], others[kept]
        order = np.lexsort((other, -cosine), axis=1)[:, : self._most]
        self._cosine[changed] = np.take_along_axis(cosine, order, 1)
        self._other[changed] = np.take_along_axis(other, order, 1)

    def pairs(self) -> Pairs:
        """All pairs of which one is among the k closest neighbors of the other; `first` is less than `second`.

        Raises:
            InputError: there are too many for the memory.
        """
        count = np.count_nonzero(self._cosine)
        if count > _MOST_NEIGHBORS:
            raise InputError(
                f"{count / 2:,.0f} or more close pairs are found, {_MOST_NEIGHBORS // 2:,} is the limit: raise "
                "`threshold` or lower `most`"
            )
        rows, places = np.nonzero(self._cosine)
        others, cosine = self._other[rows, places].astype(np.int64), self._cosine[rows, places]
        first, second = np.minimum(rows, others), np.maximum(rows, others)
        _, once = np.unique(first * len(self._cosine) + second, return_index=True)
        order = once[np.lexsort((second[once], first[once], -cosine[once]))]
        return Pairs(first[order], second[order], np.minimum(cosine[order], 1))
