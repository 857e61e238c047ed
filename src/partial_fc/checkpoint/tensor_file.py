"""Float32 arrays in safetensors files, written and read by ranges of rows, so that files may exceed the memory.

The format (https://github.com/huggingface/safetensors): eight bytes with the length of a JSON header, the header, the
arrays. The library's own writer needs every array as bytes in memory, which would double the memory of a rank.
"""

import contextlib
import json
import os
from typing import Any, BinaryIO, Dict, Iterable, Iterator, Mapping, Sequence, Tuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import safe_open

from ..errors import InputError
from ..files import naming, refuse_pointer

_ITEM_SIZE = 4
_LONGEST_HEADER = 2**22  # bytes; an array takes about a hundred


def write_tensors(
    path: str,
    shapes: Mapping[str, Sequence[int]],
    blocks: Iterable[Tuple[str, int, np.ndarray]],
    metadata: Dict[str, str],
) -> None:
    """Write arrays in blocks of rows.

    Args:
        path: of the new file.
        shapes: of the arrays, by name.
        blocks: (name, number of the first row, float32 rows), together all rows of all arrays.
        metadata: by name.

    Raises:
        OSError: the file cannot be written.
    """
    header: Dict[str, Any] = {"__metadata__": metadata}
    offsets: Dict[str, int] = {}
    end = 0
    for name, shape in shapes.items():
        offsets[name], end = end, end + _ITEM_SIZE * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offsets[name], end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with naming(path), open(path, "wb", buffering=0) as file:
        _write_all(file, memoryview(len(encoded).to_bytes(8, "little") + encoded))
        start = file.tell()
        file.truncate(start + end)
        for name, row, rows in blocks:
            row_size = _ITEM_SIZE * int(np.prod(shapes[name][1:], dtype=np.int64))
            file.seek(start + offsets[name] + row * row_size)
            _write_all(file, np.ascontiguousarray(rows, np.float32).reshape(-1).view(np.uint8).data)


def _write_all(file: BinaryIO, view: memoryview) -> None:
    while len(view):  # Linux writes at most 2 GB at a time
        view = view[file.write(view) :]


@contextlib.contextmanager
def open_tensors(path: str) -> Iterator[Any]:
    """Context with the open file of safetensors: `get_slice(name)[start:stop]` reads rows, `metadata()` the metadata.

    Raises:
        InputError: the file is missing or damaged; also raised from within the block.
    """
    refuse_pointer(path)
    _check_header(path)
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        raise InputError(f"{path}: damaged: {error}") from error


def _check_header(path: str) -> None:
    """Raise InputError if the header claims to be longer than the file, or than any of ours."""
    try:
        with open(path, "rb") as file:
            length, size = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if length > min(size, _LONGEST_HEADER):
        raise InputError(f"{path}: damaged: its header claims {length:,} bytes")
