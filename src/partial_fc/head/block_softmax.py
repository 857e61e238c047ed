"""The softmax over a rank's columns, block by block, between products of any precision."""

from typing import List, Optional

import mxnet as mx

from .negatives import NegativeLogits
from .parallel_softmax import ShardSoftmax, ShardTargets, shard_softmax
from .products import Products

# Numbers in a block of rows of the logits, 8 MB in float32: a CPU's cache keeps it from one operator to the next.
BLOCK = 2**21


def row_blocks(logits: mx.nd.NDArray) -> List[slice]:
    """Slices of the rows of logits (B, C), of 8 MB each in float32."""
    size = max(1, BLOCK // logits.shape[1])
    return [slice(start, start + size) for start in range(0, len(logits), size)]


def softmax_in_blocks(
    logits: mx.nd.NDArray,
    targets: ShardTargets,
    has_zero_column: bool,
    products: Products,
    negatives: Optional[NegativeLogits] = None,
) -> ShardSoftmax:
    """`shard_softmax` in float32 for logits of any precision, a block of rows after the other.

    Args:
        logits: (B, C) that `products` has made; overwritten.

    Returns:
        ShardSoftmax whose probabilities are multiplied by the gain of `products`.
    """
    parts = []
    for rows in row_blocks(logits):
        own = ShardTargets(targets.columns[rows], targets.is_local[rows])
        block = shard_softmax(products.wide(logits[rows], "logits_block"), own, has_zero_column, negatives)
        parts.append(_rounded(block, logits[rows], has_zero_column, products))
    _, log_divisor, lse, num_filtered = zip(*parts)
    joined = (mx.nd.concat(*each, dim=0) for each in (log_divisor, lse, num_filtered) if each[0] is not None)
    return ShardSoftmax(logits, *joined)


def _rounded(softmax: ShardSoftmax, out: mx.nd.NDArray, has_zero_column: bool, products: Products) -> ShardSoftmax:
    """Write the probabilities of a block into `out`, and take the logarithm of their divisor there along.

    bfloat16 has the range of float32, so it holds the exponentials without a divisor. They do not depend on what other
    columns this rank has: however many ranks there are, the same numbers are rounded.
    """
    probabilities, log_divisor, *_ = softmax
    if products.is_low and products.gain == 1 and has_zero_column:
        divisor = mx.nd.exp(log_divisor).reshape((-1, 1))
        mx.nd.broadcast_mul(probabilities, divisor, out=probabilities)
        log_divisor = mx.nd.zeros_like(log_divisor)
    elif products.gain != 1:
        probabilities *= products.gain
    products.narrow(probabilities, out)
    return softmax._replace(probabilities=out, log_divisor=log_divisor)
