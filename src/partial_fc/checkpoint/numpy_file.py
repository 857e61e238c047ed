"""Matrices in NumPy's `.npy` files, mapped into memory; a header is compared with the file before it is believed."""

import math
import os

import numpy as np

from ..errors import InputError
from ..files import refuse_pointer

_LONGEST_HEADER = 4096  # bytes; those of matrices have 118


def open_matrix(path: str, what: str) -> np.ndarray:
    """The float array (n, D) of a `.npy` file, read-only: rows come to memory when they are used.

    Nothing in the file is executed: arrays of Python's objects are refused.

    Args:
        path: of the file.
        what: it holds, for the message.

    Raises:
        InputError: naming the file: no such file, another format, or a shape that its length does not go with.
    """
    refuse_pointer(path)
    try:
        with open(path, "rb") as file:
            shape, fortran_order, dtype = _header(file)
            start, size = file.tell(), os.fstat(file.fileno()).st_size
        if len(shape) != 2 or min(shape) < 1 or dtype.kind != "f":
            raise ValueError(f"{dtype} of shape {shape}, expected floats in two dimensions")
        if size - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{size - start} bytes of numbers do not go with {dtype} of shape {shape}")
        return np.memmap(path, dtype, "r", start, shape, "F" if fortran_order else "C")
    except Exception as error:  # of many types: whatever damage of the header leads to
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: not a NumPy file of {what}: {reason}") from error


def _header(file):
    """Shape, whether it is in Fortran's order, and dtype; the file is at its numbers then."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"of version {version[0]}.{version[1]}, expected 1.0 or 2.0")
    start = file.tell()
    length = int.from_bytes(file.read(2 * version[0]), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header is said to have {length} bytes")
    file.seek(start)
    read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    return read(file)
