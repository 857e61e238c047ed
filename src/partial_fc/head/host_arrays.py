"""Large arrays of the host: in memory, or in files that memory maps."""

import ctypes
import mmap
import os
import shutil
import tempfile
from typing import Any, Dict

import mxnet as mx
import numpy as np
from mxnet.base import _LIB, NDArrayHandle, check_call
from mxnet.ndarray.ndarray import DeleterFunc, DLContext, DLDataType, DLManagedTensor, DLTensor

from ..errors import InputError

_CPU = 1  # as DLPack counts devices


def memory_array(num_rows: int, num_columns: int) -> np.ndarray:
    """float32 zeros (num_rows, num_columns) in large pages where the system has them: rows are touched at random."""
    memory = mmap.mmap(-1, _size(num_rows, num_columns), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.float32).reshape(num_rows, num_columns)


def file_array(folder: str, num_rows: int, num_columns: int) -> np.ndarray:
    """float32 zeros (num_rows, num_columns) in a file of `folder`, whose space is reserved.

    The file has no name: its space is freed when the process ends, even by a crash.

    Raises:
        InputError: if the folder cannot be written or has no room.
    """
    size = _size(num_rows, num_columns)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            memory = mmap.mmap(file.fileno(), size)
    except OSError as error:
        free = f", {shutil.disk_usage(folder).free / 2**30:.1f} GiB are free there" if os.path.isdir(folder) else ""
        room = f"no room for {size / 2**30:.1f} GiB of centers{free}"
        raise InputError(f"{folder}: {room}: {error}") from error
    return np.frombuffer(memory, np.float32).reshape(num_rows, num_columns)


def ndarray_over(array: np.ndarray) -> mx.nd.NDArray:
    """NDArray over the memory of a contiguous float32 array, which becomes read-only and is kept as long as MXNet uses
    it.

    `mx.nd.from_numpy` returns the same, but an NDArray of it that still exists when Python ends can crash the process:
    MXNet then calls a function that no longer exists.
    """
    array.flags.writeable = False
    shape = array.ctypes.shape_as(ctypes.c_int64)
    data = DLTensor(array.ctypes.data, DLContext(_CPU, 0), array.ndim, DLDataType.TYPE_MAP["float32"], shape, None, 0)
    tensor = DLManagedTensor(data, None, ctypes.cast(_RELEASE, DeleterFunc))
    _SHARED[ctypes.addressof(tensor)] = tensor, shape, array
    handle = NDArrayHandle()
    check_call(_LIB.MXNDArrayFromDLPackEx(ctypes.byref(tensor), False, ctypes.byref(handle)))
    return mx.nd.NDArray(handle)


_SHARED: Dict[int, Any] = {}  # arrays whose memory MXNet uses, by the address that it passes to `_release`


def _release(address, shared=_SHARED):  # without global names, which are gone when Python ends
    shared.pop(address)


_RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_release)
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_RELEASE))  # never freed


def _size(num_rows: int, num_columns: int) -> int:
    return 4 * num_rows * num_columns
