"""What is computed instead of a plain symbol: the same function, fast on the device, in the precision asked for."""

import mxnet as mx

from .operators import for_cpu
from .precision import with_precision


def fast_symbol(symbol: mx.sym.Symbol, ctx: mx.Context, precision: str = "float32") -> mx.sym.Symbol:
    """The symbol to bind on a device, for training and for inference.

    What is saved, and whose initial values and attributes count, is the plain symbol.

    Args:
        symbol: any network with the input `data`, (b, 3, H, W) float32; it is left as it is.
        ctx: the device. For a GPU nothing but the precision changes: cuDNN has fast operators for all.
        precision: of convolutions, one of `precision.PRECISIONS`. A CPU has no float16.

    Returns:
        A Symbol of the same arguments and auxiliary states in the same order, of the same shapes, all float32, and of
        the same outputs, float32.
    """
    if ctx.device_type == "cpu":
        symbol = for_cpu(symbol)
    return with_precision(symbol, precision)
