"""Cosines of all rows of a matrix with all rows of another, block by block."""

import threading
from typing import Any, Callable, Generator, Iterable, Tuple

import numpy as np

from ...data.parallel import ordered_map
from ...limits import usable_cores

ROWS = 4096  # of a block: with more, rows are read less often, but ROWS² scores take 64 MiB per thread


def map_scores(
    function: Callable[..., Any], blocks: Iterable[Tuple[Any, ...]], num_workers: int = 0
) -> Generator[Any, None, None]:
    """Results of a function of each block of scores, in order. Threads multiply the rows and call the function.

    Args:
        function: of scores, float32 (m, n), overwritten after the call, and of the rest of the block's tuple.
        blocks: tuples of unit rows (m, D) and (n, D), float32, and further arguments for the function.
        num_workers: threads; 0: as many as usable cores.
    """
    own = threading.local()

    def work(block: Tuple[Any, ...]) -> Any:
        left, right, *more = block
        size = len(left) * len(right)
        buffer = getattr(own, "buffer", None)
        if buffer is None or len(buffer) < size:
            buffer = own.buffer = np.empty(size, np.float32)  # reused: new memory costs half as much as the product
        scores = buffer[:size].reshape(len(left), len(right))
        np.matmul(left, right.T, out=scores)
        return function(scores, *more)

    num_workers = num_workers or usable_cores()
    return ordered_map(work, blocks, num_workers, ahead=num_workers + 1)
