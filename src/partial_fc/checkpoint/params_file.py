"""MXNet's file of arrays, `.params`: its sizes are checked against the size of the file before MXNet loads it.

MXNet allocates whatever a file announces: 92 bytes can claim 2^31 dimensions. The format: the number 0x112, a reserved
one, the number of arrays and the arrays, then the number of names and the names. An array is a number for its version,
the kind of storage, the shape, the device, the type of its elements and the elements.
"""

import math
import os
import struct
from typing import Any, BinaryIO, Dict, List, Set, Tuple, Union

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
    """Dense NDArrays of a file of `mx.nd.save`, also from untrusted sources: by name, or a list if they have no names.

    The memory needed is bounded by the size of the file.

    Raises:
        InputError: no such file, sizes beyond its length, sparse arrays, arrays without dimensions or elements,
            unknown types, a repeated name, or an error of MXNet.
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
    """Reads the sizes in an open file, without the elements of the arrays."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, os.fstat(file.fileno()).st_size

    def check(self) -> bool:
        """Raise ValueError unless the file is complete; returns whether it was written under NumPy semantics."""
        magic, _, count = self._read("<3Q")
        if magic != _MAGIC:
            raise ValueError("it does not begin like one")
        if not 0 < count <= _MOST_ARRAYS:
            raise ValueError(f"it announces {count:,} arrays; 1 to {_MOST_ARRAYS:,} are read")
        numpy_semantics = {self._array(number) for number in range(count)}
        if len(numpy_semantics) > 1:
            raise ValueError("some of its arrays have NumPy semantics and others do not")
        self._names(count)
        if self._left:
            raise ValueError(f"{self._left:,} bytes follow its end")
        return numpy_semantics.pop()

    def _array(self, number: int) -> bool:
        """Skip an array; returns whether it has NumPy semantics."""
        (version,) = self._read("<I")
        if version in (_V2, _V3):
            (storage,) = self._read("<i")
            if storage != _DENSE:
                raise ValueError(f"array {number} is sparse, storage {storage}: save it dense, tostype('default')")
        shape = self._shape(version, number)
        device, _, kind = self._read("<3i")
        if device not in _DEVICES or kind not in _ITEM_SIZES:
            raise ValueError(f"array {number} has an unknown device or type ({device}, {kind})")
        if min(shape, default=1) < 1 or math.prod(shape) > _MOST_ELEMENTS:
            raise ValueError(f"array {number} has the shape {shape}: 1 to {_MOST_ELEMENTS:,} elements are read")
        self._skip(_ITEM_SIZES[kind] * math.prod(shape))
        return version == _V3

    def _shape(self, version: int, number: int) -> Tuple[int, ...]:
        if version in (_V1, _V2, _V3):
            (dimensions,), size = self._read("<i"), "q"
        else:
            dimensions, size = version, "I"
        if not dimensions and version != _V3:
            raise ValueError(f"array {number} has no dimensions: save it with the shape (1,)")
        if not 0 <= dimensions <= _MOST_DIMENSIONS:
            raise ValueError(f"array {number} announces {dimensions:,} dimensions")
        return self._read(f"<{dimensions}{size}")

    def _names(self, count: int) -> None:
        (named,) = self._read("<Q")
        if named not in (0, count):
            raise ValueError(f"it has {named:,} names for {count:,} arrays")
        names: Set[str] = set()
        for _ in range(named):
            (length,) = self._read("<Q")
            if length > _LONGEST_NAME:
                raise ValueError(f"a name claims {length:,} bytes")
            names.add(self._read(f"{length}s")[0].decode("utf-8"))
        if len(names) < named:
            raise ValueError("it repeats a name")

    def _read(self, form: str) -> Tuple[Any, ...]:
        size = struct.calcsize(form)
        self._take(size)
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError("it was shortened while it was read")
        return struct.unpack(form, data)

    def _skip(self, size: int) -> None:
        self._take(size)
        self._file.seek(size, os.SEEK_CUR)

    def _take(self, size: int) -> None:
        if size > self._left:
            raise ValueError(f"it announces {size:,} more bytes, but {self._left:,} are left")
        self._left -= size
