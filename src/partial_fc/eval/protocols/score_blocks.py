"""Cosines of all rows of one matrix with all of another, block by block: the products are what takes the time."""

import threading

import numpy as np

from ...data.parallel import ordered_map
from ...limits import usable_cores

ROWS = 4096  # of a block: the more, the less often a row is read; ROWS² scores take 64 MiB for each thread


def map_scores(function, blocks, num_workers=0):
    """Results of a function of every block of scores, in order. Threads multiply and call it.

    Args:
        function: of scores, float32 (m, n), which it may not keep, and of what else the block has.
        blocks: iterable of tuples: unit rows (m, D) and (n, D), float32, and more for the function.
        num_workers: threads; 0: the cores there are.
    """
    own = threading.local()

    def work(block):
        left, right, *more = block
        size = len(left) * len(right)
        buffer = getattr(own, "buffer", None)
        if buffer is None or len(buffer) < size:
            buffer = own.buffer = np.empty(size, np.float32)  # kept: fresh memory costs as much as half of the product
        scores = buffer[:size].reshape(len(left), len(right))
        np.matmul(left, right.T, out=scores)
        return function(scores, *more)

    num_workers = num_workers or usable_cores()
    return ordered_map(work, blocks, num_workers, ahead=num_workers + 1)
