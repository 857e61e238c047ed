"""Which centers take part in a step: all positives and random negatives (Partial FC, arXiv 2010.05222, section 3)."""

import numpy as np


def num_sample(num_local: int, num_positive: int, sample_ratio: float) -> int:
    """max(num_positive, ceil(sample_ratio * num_local)): a positive is never dropped."""
    # 0.07 * 100 is 7.000000000000001 in binary: without the rounding its ceiling would be 8.
    return max(num_positive, int(np.ceil(round(sample_ratio * num_local, 9))))


def sample_rows(
    positives: np.ndarray, num_local: int, sample_ratio: float, generator: np.random.Generator
) -> np.ndarray:
    """Rows of the shard that take part in a step.

    Costs O(chosen) random draws and one pass over a bitmap of the shard; nothing is sorted or permuted.

    Args:
        positives: (p,) distinct rows that must be chosen.
        num_local: rows in the shard.
        sample_ratio: share r in (0, 1] of the rows to choose.
        generator: NumPy generator.

    Returns:
        (`num_sample`,) int64 rows in ascending order: every positive, and negatives drawn uniformly
            without replacement.
    """
    count = num_sample(num_local, len(positives), sample_ratio)
    if count == len(positives):
        return np.sort(positives)
    marked = np.zeros(num_local, dtype=bool)
    marked[positives] = True
    if 2 * count <= num_local:
        _mark(marked, count - len(positives), generator)
        return np.flatnonzero(marked)
    # Most rows are chosen: draw the few that are left out, so that draws seldom hit a marked row.
    _mark(marked, num_local - count, generator)
    marked[positives] = False
    return np.flatnonzero(~marked)


def _mark(marked: np.ndarray, count: int, generator: np.random.Generator) -> None:
    """Mark `count` more entries, uniformly among those that are not marked yet.

    Never more draws than entries still wanted, so none has to be taken back: by symmetry every set is equally likely.
    """
    wanted = np.count_nonzero(marked) + count
    while True:
        missing = wanted - np.count_nonzero(marked)
        if not missing:
            return
        marked[generator.integers(0, len(marked), size=missing)] = True
