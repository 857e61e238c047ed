"""Reads pickles of plain data and arrays without running anything that they hold.

A pickle is a program, and the standard library's Unpickler runs it: it imports names, calls them, and allocates
whatever the file claims to need (an index of the memo alone can claim 64 GB). So every opcode is checked first, and the
Unpickler gets only pickles of opcodes that plain data needs, with sizes that the file can hold. The few names of NumPy
that arrays need are replaced by functions and classes of this file: NumPy never sees a shape or a type from the file.
"""

import codecs
import io
import math
import pickle
import pickletools
from typing import Any, Optional

import numpy as np

# An opcode of one byte may take 80 in memory. Images have hundreds of bytes for each opcode; a million are free for
# lists of numbers beside them.
_OPCODES_AT_LEAST, _BYTES_PER_OPCODE = 2**20, 16
_LONGEST_NUMBER = 64
_OPCODES = {info.code.encode("latin-1"): info for info in pickletools.opcodes}
_PLAIN_OPCODES = frozenset(
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING "
    "SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 LIST "
    "EMPTY_LIST APPEND APPENDS TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET "
    "LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD".split()
)
_PUTS = frozenset(["PUT", "BINPUT", "LONG_BINPUT"])
_PLAIN_DTYPES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])


def load_plain(data: bytes) -> Any:
    """Object of a pickle: bytes, str, int, bool, None, `PickledArray`, lists and tuples of these.

    All protocols, 0 to 5. A `str` of Python 2 becomes bytes, a NumPy scalar becomes an int or a bool. The memory used
    is at most six times `len(data)` and 80 MiB.

    Raises:
        ValueError: other names or opcodes (the message names them), damaged or truncated data.
    """
    _check_opcodes(data)
    try:
        return _PlainUnpickler(data).load()
    except (pickle.UnpicklingError, EOFError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"damaged pickle: {error}") from error


class PickledArray:
    """An array of bools or integers as pickled, (n,), (n, 1) or (1, n).

    Attributes:
        data: its bytes; None until the pickle has set them.
        dtype: of its elements; None until then.
    """

    def __init__(self) -> None:
        self.data: Optional[bytes] = None
        self.dtype: Optional[np.dtype] = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("damaged NumPy array")
        _, shape, dtype, _, data = state
        self.fill(data, dtype, shape)

    def fill(self, data: Any, dtype: Any, shape: Any) -> None:
        """Set bytes, dtype and shape as the pickle has them; raises ValueError where they do not fit together."""
        if not (isinstance(dtype, _PickledDtype) and isinstance(data, bytes) and isinstance(shape, tuple)):
            raise ValueError("damaged NumPy array")
        # cv2.imencode returned (n, 1) before OpenCV 4.5: the bytes are those of (n,)
        line = len(shape) == 1 or len(shape) == 2 and 1 in shape
        whole = line and all(type(size) is int for size in shape)
        if not whole or math.prod(shape) * dtype.dtype.itemsize != len(data):
            raise ValueError(f"NumPy array with {len(data)} bytes: not one row or column, or of another size")
        self.data, self.dtype = data, dtype.dtype

    def numpy(self) -> np.ndarray:
        """The array as (n,), read-only; raises ValueError where the pickle never set its bytes."""
        if self.data is None:
            raise ValueError("NumPy array without data")
        return np.frombuffer(self.data, dtype=self.dtype)


class _PickledDtype:
    def __init__(self, name, align=False, copy=True):
        name = _text(name)
        if name not in _PLAIN_DTYPES:
            raise ValueError(f"NumPy dtype {name!r}: only bools and integers are read")
        self.dtype = np.dtype(name)

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(_text(state[1]))


def _reconstruct(array_type, shape, typecode):
    if array_type is not PickledArray:
        raise ValueError("NumPy array of another type than numpy.ndarray")
    return PickledArray()


def _array(data, dtype, shape):
    array = PickledArray()
    array.fill(data, dtype, shape)
    return array


def _scalar(dtype, data):
    return _array(data, dtype, (1,)).numpy()[0].item()


def _text(value):
    """`value` as str, from a str of Python 3 or of Python 2 (bytes); the repr of anything else could be endless."""
    if not isinstance(value, (bytes, str)):
        raise ValueError("damaged pickle: a name that is not text")
    return value.decode("ascii") if isinstance(value, bytes) else value


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler of opcodes that have been checked, with a few names."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._bytes_left_to_copy = len(data)
        self._names = {
            ("numpy", "ndarray"): PickledArray,
            ("numpy", "dtype"): _PickledDtype,
            ("_codecs", "encode"): self._encode_latin1,
        }
        for core in ("numpy.core", "numpy._core"):  # the name before and since NumPy 2
            self._names[f"{core}.multiarray", "_reconstruct"] = _reconstruct
            self._names[f"{core}.multiarray", "scalar"] = _scalar
            self._names[f"{core}.numeric", "_frombuffer"] = self._from_buffer

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for; raises ValueError for other names than those of plain arrays."""
        if (module, name) not in self._names:
            raise ValueError(f"refused: the name {f'{module}.{name}':.80}, which plain data does not need")
        return self._names[module, name]

    def _encode_latin1(self, text, encoding):
        """Python 3 writes bytes in protocols 0 to 2 as a call of this."""
        if _text(encoding) not in ("latin1", "latin-1"):
            raise ValueError("refused: a call of _codecs.encode which plain data does not need")
        self._count_copy(len(text))
        return text.encode("latin-1")

    def _from_buffer(self, data, dtype, shape, order):
        """Protocol 5 writes arrays as a call of this; those that can be changed with a bytearray."""
        if isinstance(data, bytearray):
            self._count_copy(len(data))
            data = bytes(data)
        return _array(data, dtype, shape)

    def _count_copy(self, length):
        """Each copy is of bytes of its own: one object copied again and again would fill the memory."""
        self._bytes_left_to_copy -= length
        if self._bytes_left_to_copy < 0:
            raise ValueError("refused: more copies of bytes than plain data needs")


def _check_opcodes(data):
    """Raise ValueError unless the pickle has only opcodes of plain data, whole, not too many, with sizes that it holds.

    `pickletools` splits them, and refuses lengths beyond the end of the data; `genops` would not do: it decodes images
    in Python 2's text form as ASCII, and takes time with the square of the number of digits.
    """
    stream, most = io.BytesIO(data), _OPCODES_AT_LEAST + len(data) // _BYTES_PER_OPCODE
    for _ in range(most):
        name, arg = _next_opcode(stream)
        if name not in _PLAIN_OPCODES:
            detail = "" if arg is None else f" ({arg})"
            raise ValueError(f"refused: opcode {name}{detail:.80}, which plain data does not need")
        if name in _PUTS and arg > most:  # the Unpickler's memo is a table as long as its largest index
            raise ValueError(f"refused: an index of the memo, {arg}, beyond the number of opcodes")
        if name == "STOP":
            return
    raise ValueError(f"refused: more opcodes than images of {len(data)} bytes need")


def _next_opcode(stream):
    """Name and argument of the next opcode."""
    code = stream.read(1)
    if not code:
        raise ValueError("the pickle is truncated")
    if code not in _OPCODES:
        raise ValueError(f"not a pickle: unknown opcode {code!r} at byte {stream.tell() - 1}")
    info = _OPCODES[code]
    if info.name == "STRING":
        return info.name, _check_string_line(stream.readline())
    if info.arg is not None and info.arg.name.startswith("decimalnl"):
        _check_digits(stream)
    return info.name, None if info.arg is None else info.arg.reader(stream)


def _check_digits(stream):
    """Raise ValueError for a number of many digits: to read it takes time with the square of their number."""
    start = stream.tell()
    if len(stream.readline(_LONGEST_NUMBER + 1)) > _LONGEST_NUMBER:
        raise ValueError("refused: a number of many digits, which plain data does not need")
    stream.seek(start)


def _check_string_line(line):
    """Raise ValueError unless a line is Python 2's text form of a `str`."""
    if len(line) < 3 or line[-1:] != b"\n" or line[:1] not in b"'\"" or line[-2:-1] != line[:1]:
        raise ValueError("the pickle is truncated or holds a string without quotes")
    codecs.escape_decode(line[1:-2])
