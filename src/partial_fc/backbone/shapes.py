"""Shapes within a network for images of one size."""

import math
from typing import List, Tuple

import mxnet as mx

from ..errors import InputError, cause

# Elements of all outputs of a network together, for one image; r200 has 80 million.
MAX_ELEMENTS = 2**31

Shapes = List[Tuple[int, ...]]


def infer_shapes(symbol: mx.sym.Symbol, shape: Tuple[int, ...], what: str) -> Tuple[Shapes, Shapes, Shapes]:
    """Shapes of a network's arguments, outputs and auxiliary states for a batch of images.

    Args:
        symbol: with the input `data`.
        shape: (b, 3, H, W).
        what: begins the error: the network, or the key that gave the size.

    Raises:
        InputError: the network does not take images of this size, or has other inputs without known shapes.
    """
    size = f"{shape[2]}x{shape[3]}"
    try:
        shapes = symbol.infer_shape_partial(data=shape)  # `infer_shape` would print the arguments before it raises
    except mx.base.MXNetError as error:
        raise InputError(f"{what}: cannot take images of {size} pixels: {cause(error)}") from None
    if not all(each and all(each) for group in shapes for each in group):  # an unknown number of axes, or length
        raise InputError(f"{what}: shapes do not follow from images of {size} pixels: it has other inputs, too")
    return shapes


def check_elements(symbol: mx.sym.Symbol, shape: Tuple[int, ...], what: str) -> None:
    """Check that all outputs of a network together have at most MAX_ELEMENTS elements for one image.

    Args: as `infer_shapes`.

    Raises:
        InputError: they have more; or as `infer_shapes`.
    """
    _, outputs, _ = infer_shapes(symbol.get_internals(), (1, *shape[1:]), what)
    total = sum(map(math.prod, outputs))
    if total > MAX_ELEMENTS:
        raise InputError(
            f"{what}: its outputs have {total:,} elements for one image of {shape[2]}x{shape[3]} pixels; "
            f"at most {MAX_ELEMENTS:,} are allowed"
        )
