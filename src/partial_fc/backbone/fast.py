"""The symbol that is computed instead of the plain one: equal, of the precision asked for, and fast on the device."""

import mxnet as mx

from .operators import replace_slow
from .precision import cast_products


def fast_symbol(symbol: mx.sym.Symbol, ctx: mx.Context, precision: str = "float32") -> mx.sym.Symbol:
    """The symbol as it should be bound on a device.

    What is saved, and whose parameters are exchanged, is the plain symbol.

    Args:
        symbol: any network with the input `data`, (b, 3, H, W) float32; it is left as it is.
        ctx: the device.
        precision: of convolutions and fully connected layers: `float32`, `bfloat16` or `float16`. Parameters, auxiliary
            states and outputs are float32 in any case.

    Returns:
        A Symbol of the same arguments, auxiliary states and outputs, by name, order and shape.
    """
    if ctx.device_type == "cpu":
        symbol = replace_slow(symbol)
    return symbol if precision == "float32" else cast_products(symbol, precision)
