"""Arrays that collectives exchange: which are allowed, how they are grouped, and their layout in memory."""

import ctypes
from typing import Callable, Dict, Iterator, List, Optional, Tuple

import mxnet as mx
import numpy as np
from mxnet.base import _LIB, check_call

from ..errors import InputError

# Large enough to use the network well, small enough that the first sums run beside the rest of the backward pass, and
# that copies take little memory.
_GROUP_BYTES = 2**25
_DTYPES = ("float16", "float32", "float64", "uint8", "int8", "int32", "int64")  # that Horovod can add

Described = Tuple[Tuple[str, tuple, str], ...]


def describe(arrays: Dict[str, mx.nd.NDArray]) -> Described:
    """Name, shape and dtype of each array that ranks are to exchange, in order.

    Raises:
        InputError: not a dictionary of dense NDArrays by name, or of numbers that Horovod cannot add.
    """
    if not hasattr(arrays, "items"):
        raise InputError(f"arrays must be a dictionary of NDArrays by name, not a {type(arrays).__name__}")
    return tuple(_describe(name, array) for name, array in arrays.items())


def _describe(name: str, array: mx.nd.NDArray) -> Tuple[str, tuple, str]:
    if not isinstance(name, str):
        raise InputError(f"arrays must have names of type str, {name!r} is of type {type(name).__name__}")
    if isinstance(array, mx.gluon.Parameter):
        raise InputError(f"{name} is a Parameter: pass its data() or grad()")
    if not isinstance(array, mx.nd.NDArray):
        raise InputError(f"{name} must be an NDArray, not a {type(array).__name__}")
    if isinstance(array, mx.nd.sparse.BaseSparseNDArray):
        raise InputError(f"{name} is sparse: ranks exchange dense arrays only: convert it with tostype('default')")
    if not array.shape:  # Horovod adds too few numbers of a message with such an array
        raise InputError(f"{name} has no dimensions: give it the shape (1,)")
    dtype = np.dtype(array.dtype).name
    if dtype not in _DTYPES:
        raise InputError(f"{name} is of {dtype}, which ranks cannot exchange: cast it to one of {', '.join(_DTYPES)}")
    return name, array.shape, dtype


def groups(arrays: Dict[str, mx.nd.NDArray]) -> Iterator[List[str]]:
    """Names of the arrays in groups of about 32 MB, each of one dtype and device.

    The order in which a sum over three or more ranks is taken depends on where in a message a number stands. Horovod
    puts together whatever happens to be ready, unless the caller forms groups: with groups, the same run gives the same
    bits.
    """
    opened: Dict[tuple, Tuple[List[str], int]] = {}
    for name, array in arrays.items():
        kind = np.dtype(array.dtype), array.context
        group, size = opened.setdefault(kind, ([], 0))
        group.append(name)
        size += kind[0].itemsize * array.size
        opened[kind] = group, size
        if size >= _GROUP_BYTES:
            yield opened.pop(kind)[0]
    for group, _ in opened.values():
        yield group


def plain(array: mx.nd.NDArray) -> mx.nd.NDArray:
    """The array, in row-major layout once MXNet's engine reaches the next operation on it. Does not wait for anything.

    On a CPU, oneDNN works in blocks: a convolution outside `autograd.record` rearranges its weight in place, and its
    result stays rearranged. MXNet's own operators take this into account; Horovod, which reads the memory, would end
    the process. Whether an array is rearranged is known only when the work on it is done, so the engine is asked to
    look then: an array that is row-major already is left as it is. On a GPU there are no such layouts.
    """
    if array.context.device_type == "gpu":
        return array
    if _reorder is None:
        array.wait_to_read()
        check_call(_LIB.MXNDArrayGetData(array.handle, ctypes.byref(ctypes.c_void_p())))  # rearranges if necessary
    else:
        _reorder(array.handle)
    return array


def _find_reorder() -> Optional[Callable[[ctypes.c_void_p], None]]:
    """`mxnet::NDArray::Reorder2DefaultAsync() const`, which MXNet's C interface lacks; None if there is none."""
    function = getattr(_LIB, "_ZNK5mxnet7NDArray20Reorder2DefaultAsyncEv", None)
    if function is not None:
        function.argtypes, function.restype = [ctypes.c_void_p], None
    return function


_reorder = _find_reorder()
