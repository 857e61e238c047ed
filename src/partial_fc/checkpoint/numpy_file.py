"""Matrices in NumPy's `.npy` files: read through a map of memory, with a checked header, and written."""

import math
import os
from typing import BinaryIO, Iterable, Tuple

import numpy as np

from ..errors import InputError
from ..files import atomic_path, open_named, refuse_pointer

_LONGEST_HEADER = 4096  # bytes; a matrix has 118


def open_matrix(path: str, what: str) -> np.ndarray:
    """The float array (n, D) of a `.npy` file, read-only: rows are read when they are used.

    Nothing in the file is executed: arrays of Python objects are rejected.

    Args:
        path: of the file.
        what: its content, for the message.

    Raises:
        InputError: no such file, another format, or a shape that does not match the size of the file.
    """
    refuse_pointer(path)
    try:
        with open(path, "rb") as file:
            shape, fortran_order, dtype = _header(file)
            start, size = file.tell(), os.fstat(file.fileno()).st_size
        if len(shape) != 2 or min(shape) < 1 or dtype.kind != "f":
            raise ValueError(f"{dtype} of shape {shape}, expected floats in two dimensions")
        if size - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{size - start} bytes of numbers do not match {dtype} of shape {shape}")
        return np.memmap(path, dtype, "r", start, shape, "F" if fortran_order else "C")
    except Exception as error:  # a damaged header raises errors of many types
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: not a NumPy file of {what}: {reason}") from error


def write_matrix(path: str, shape: Tuple[int, int], blocks: Iterable[np.ndarray]) -> None:
    """Write the float32 array (n, D) of a `.npy` file, whole or not at all.

    The file is not mapped into memory: where the disk becomes full, that would end the process by a signal.

    Args:
        path: of the file.
        shape: (n, D).
        blocks: its rows, in order, (rows, D) float32 each.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    with atomic_path(path) as unfinished, open_named(unfinished, "wb", path) as file:
        np.lib.format.write_array_header_2_0(file, dict(descr="<f4", fortran_order=False, shape=shape))
        for rows in blocks:
            file.write(np.ascontiguousarray(rows, "<f4").data)


def _header(file: BinaryIO) -> Tuple[Tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran order, and dtype; leaves the file at its numbers."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version[0]}.{version[1]}, expected 1.0 or 2.0")
    start = file.tell()
    length = int.from_bytes(file.read(2 * version[0]), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header claims {length} bytes")
    file.seek(start)
    read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    return read(file)
