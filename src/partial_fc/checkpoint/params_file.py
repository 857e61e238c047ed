"""MXNet's container of arrays, `.params`: its sizes are compared with the file's before MXNet loads it.

MXNet asks for whatever memory a file announces: 92 bytes can claim 2^31 dimensions. The form: the number 0x112, a
reserved one, the number of arrays and each of them, then the number of names and each of them. An array is a mark of
its version, the kind of storage, the shape, the device that it was on, the type of its numbers and the numbers.
"""

import math
import os
import struct
from typing import Dict, List, Union

import mxnet as mx

from ..errors import InputError
from ..files import refuse_pointer

_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA  # older files have the number of dimensions instead
_DENSE = 0
_MOST_ARRAYS = 2**17  # r200 has 1,600
_MOST_DIMENSIONS = 32  # of a NumPy array
_MOST_ELEMENTS = 2**31 - 1  # of an array of MXNet
_LONGEST_NAME = 4096
_DEVICES = (1, 2, 3, 5)  # CPU, GPU, pinned and shared memory
_ITEM_SIZES = {0: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8, 7: 1, 12: 2}  # bytes by MXNet's number of the type


def load_ndarrays(path: str) -> Union[Dict[str, mx.nd.NDArray], List[mx.nd.NDArray]]:
    """Dense NDArrays of a file of `mx.nd.save`, of whatever origin: by name, or a list where they have no names.

    Memory is that of the file, and no more than MXNet's for as many bytes.

    Raises:
        InputError: naming the file: no such file, sizes beyond its length, sparse arrays, arrays without dimensions or
            elements, types that Python does not know, a name twice, or MXNet's reason.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file")
    refuse_pointer(path)
    try:
        with open(path, "rb") as file:
            numpy_semantics = _Walk(file).check()
        with mx.util.np_shape(numpy_semantics):
            return mx.nd.load(path)
    except (ValueError, mx.base.MXNetError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise InputError(f"{path}: not a file of MXNet arrays that is safe to load: {reason}") from error


class _Walk:
    """Reads the sizes in an open binary file; the arrays' numbers are skipped."""

    def __init__(self, file):
        self._file, self._left = file, os.fstat(file.fileno()).st_size

    def check(self):
        """Raise ValueError unless the file is whole; returns whether it was written under NumPy's semantics."""
        magic, _, count = self._read("<3Q")
        if magic != _MAGIC:
            raise ValueError("it does not begin as one")
        if not 0 < count <= _MOST_ARRAYS:
            raise ValueError(f"it announces {count:,} arrays; 1 to {_MOST_ARRAYS:,} are read")
        numpy_semantics = {self._array(number) for number in range(count)}
        if len(numpy_semantics) > 1:
            raise ValueError("some of its arrays are of NumPy's semantics and others not")
        self._names(count)
        if self._left:
            raise ValueError(f"{self._left:,} bytes follow its end")
        return numpy_semantics.pop()

    def _array(self, number):
        """Skip an array; returns whether it is of NumPy's semantics."""
        (version,) = self._read("<I")
        if version in (_V2, _V3):
            (storage,) = self._read("<i")
            if storage != _DENSE:
                raise ValueError(f"array {number} is sparse, storage {storage}: save it dense, tostype('default')")
        shape = self._shape(version, number)
        device, _, kind = self._read("<3i")
        if device not in _DEVICES or kind not in _ITEM_SIZES:
            raise ValueError(f"array {number} is of a device or type that is not known ({device}, {kind})")
        if min(shape, default=1) < 1 or math.prod(shape) > _MOST_ELEMENTS:
            raise ValueError(f"array {number} has the shape {shape}: 1 to {_MOST_ELEMENTS:,} elements are read")
        self._skip(_ITEM_SIZES[kind] * math.prod(shape))
        return version == _V3

    def _shape(self, version, number):
        if version in (_V1, _V2, _V3):
            (dimensions,), size = self._read("<i"), "q"
        else:
            dimensions, size = version, "I"
        if not dimensions and version != _V3:
            raise ValueError(f"array {number} has no dimensions: save it with the shape (1,)")
        if not 0 <= dimensions <= _MOST_DIMENSIONS:
            raise ValueError(f"array {number} announces {dimensions:,} dimensions")
        return self._read(f"<{dimensions}{size}")

    def _names(self, count):
        (named,) = self._read("<Q")
        if named not in (0, count):
            raise ValueError(f"it has {named:,} names for {count:,} arrays")
        names = set()
        for _ in range(named):
            (length,) = self._read("<Q")
            if length > _LONGEST_NAME:
                raise ValueError(f"a name is said to have {length:,} bytes")
            names.add(self._read(f"{length}s")[0].decode("utf-8"))
        if len(names) < named:
            raise ValueError("it has a name twice")

    def _read(self, form):
        size = struct.calcsize(form)
        self._take(size)
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError("it became shorter while it was read")
        return struct.unpack(form, data)

    def _skip(self, size):
        self._take(size)
        self._file.seek(size, os.SEEK_CUR)

    def _take(self, size):
        if size > self._left:
            raise ValueError(f"it announces {size:,} bytes more where {self._left:,} are left")
        self._left -= size
