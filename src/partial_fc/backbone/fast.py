"""Fast replacement of a plain symbol: the same function, in the requested precision, and the input it takes."""

import mxnet as mx
import numpy as np

from .operators import for_cpu
from .precision import with_precision


def fast_symbol(symbol: mx.sym.Symbol, ctx: mx.Context, precision: str = "float32") -> mx.sym.Symbol:
    """The symbol to bind on a device, for training and for inference.

    What is saved, and whose initial values and attributes count, is the plain symbol.

    Args:
        symbol: any network with the input `data`, (b, 3, H, W) float32; it is left as it is.
        ctx: the device. For a GPU nothing but the precision changes: cuDNN has fast operators for all.
        precision: of convolutions, `float32`, `bfloat16` or `float16`. A CPU has no float16.

    Returns:
        A Symbol of the same arguments and auxiliary states in the same order, of the same shapes, all float32, and of
        the same outputs, float32.
    """
    if ctx.device_type == "cpu":
        symbol = for_cpu(symbol)
    return with_precision(symbol, precision)


def network_input(images: np.ndarray, ctx: mx.Context) -> mx.nd.NDArray:
    """Convert images (b, H, W, 3) uint8 to the input of networks, (b, 3, H, W) float32 on the device.

    Bytes travel to the device, floats are made there. NumPy transposes them several times faster than MXNet.
    """
    return mx.nd.array(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), ctx=ctx, dtype="uint8").astype("float32")
