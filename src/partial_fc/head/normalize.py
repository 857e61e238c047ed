"""Rows of unit length and the gradient through them."""

from typing import Optional, Tuple

import mxnet as mx

# Rows shorter than this have no direction: their unit vector and their gradient are 0.
_SMALLEST_NORM = 1e-15


def row_sum(array: mx.nd.NDArray) -> mx.nd.NDArray:
    """Sums over the rows of an (n, D) array, (n, 1): a product with ones, several times as fast as `sum` on a CPU."""
    ones = mx.nd.ones((1, array.shape[1]), ctx=array.context)
    return mx.nd.FullyConnected(array, ones, no_bias=True, num_hidden=1, flatten=True)


def l2_normalize(
    array: mx.nd.NDArray, out: Optional[mx.nd.NDArray] = None, scratch: Optional[mx.nd.NDArray] = None
) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
    """x / |x| for every row x.

    Args:
        array: (n, D) float32.
        out: (n, D) array to write the unit rows into.
        scratch: (n, D) array to overwrite instead of allocating one.

    Returns:
        unit rows (n, D) and 1 / |x| (n, 1); both 0 for a row of zeros.
    """
    square_norm = row_sum(mx.nd.square(array, out=scratch))
    inverse_norm = (square_norm > _SMALLEST_NORM**2) * mx.nd.rsqrt(mx.nd.maximum(square_norm, _SMALLEST_NORM**2))
    return mx.nd.broadcast_mul(array, inverse_norm, out=out), inverse_norm


def l2_normalize_backward(
    grad_unit: mx.nd.NDArray, unit: mx.nd.NDArray, inverse_norm: mx.nd.NDArray, scratch: Optional[mx.nd.NDArray] = None
) -> mx.nd.NDArray:
    """Gradient with respect to x from the one with respect to x / |x|: (g - (g . x^) x^) / |x|.

    Args:
        grad_unit: (n, D); its memory is reused for the result.
        unit: (n, D) and `inverse_norm` (n, 1): what `l2_normalize` returned.
        scratch: (n, D) array to overwrite instead of allocating one.

    Returns:
        (n, D).
    """
    along = row_sum(mx.nd.elemwise_mul(grad_unit, unit, out=scratch))
    mx.nd.elemwise_sub(grad_unit, mx.nd.broadcast_mul(unit, along, out=scratch), out=grad_unit)
    return mx.nd.broadcast_mul(grad_unit, inverse_norm, out=grad_unit)
