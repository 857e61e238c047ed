"""Reads pickles of plain data without running anything that stands in them.

A pickle is a program, and `pickle.load` runs it: it imports names, calls them, and allocates whatever the
file claims to need (an index of the memo alone can claim 64 GB before a single name is looked up, so an
unpickler that only limits the names does not help). Plain data needs few opcodes: they are interpreted
here, and `pickletools` of the standard library splits them. The few NumPy names that arrays need lead to
stand-ins of this file, so that NumPy never sees a shape or a type which the file made up.
"""

import codecs
import io
import math
import pickletools

import numpy as np

# Protocol numbers and frames have no effect: what a protocol may use shows in the opcodes themselves.
_WITHOUT_EFFECT = frozenset(["PROTO", "FRAME"])
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# An opcode of one byte may take 80 in memory. Images have hundreds of bytes for each opcode; a million are free for
# lists of numbers beside them.
_OPCODES_AT_LEAST, _BYTES_AN_OPCODE = 2**20, 16
_LONGEST_NUMBER = 64
_TUPLE_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_OPCODES = {info.code.encode("latin-1"): info for info in pickletools.opcodes}
_PLAIN_DTYPES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
_PYTHON2_STRINGS = frozenset(["BINSTRING", "SHORT_BINSTRING"])
_LITERALS = _PYTHON2_STRINGS | {
    "STRING",
    "INT",
    "BININT",
    "BININT1",
    "BININT2",
    "LONG",
    "LONG1",
    "LONG4",
    "BINBYTES",
    "SHORT_BINBYTES",
    "BINBYTES8",
    "BYTEARRAY8",
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
}


def load_plain(data):
    """What `data` (bytes) holds: bytes, str, int, bool, None, `PickledArray`, lists and tuples of these.

    All protocols, 0 to 5. A `str` of Python 2 becomes bytes, a NumPy scalar becomes an int or a bool. The
    memory used is at most six times `len(data)` and 80 MiB. Raises ValueError on other names or opcodes (the
    message tells which) and on damaged or truncated data.
    """
    return _Interpreter(data).run()


class PickledArray:
    """An array of bools or integers as pickled, (n,), (n, 1) or (1, n): bytes and their dtype, None until set."""

    def __init__(self):
        self.data = self.dtype = None

    def set_state(self, state):
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("damaged NumPy array")
        _, shape, dtype, _, data = state
        self.fill(data, dtype, shape)

    def fill(self, data, dtype, shape):
        if not (isinstance(dtype, _PickledDtype) and isinstance(data, bytes) and isinstance(shape, tuple)):
            raise ValueError("damaged NumPy array")
        # cv2.imencode returned (n, 1) before OpenCV 4.5: the bytes are those of (n,)
        line = len(shape) == 1 or len(shape) == 2 and 1 in shape
        whole = line and all(type(size) is int for size in shape)
        if not whole or math.prod(shape) * dtype.dtype.itemsize != len(data):
            raise ValueError(f"NumPy array with {len(data)} bytes: not one row or column, or of another size")
        self.data, self.dtype = data, dtype.dtype

    def numpy(self):
        """The array as `(n,)`, read-only; ValueError where the pickle never filled it."""
        if self.data is None:
            raise ValueError("NumPy array without data")
        return np.frombuffer(self.data, dtype=self.dtype)


class _PickledDtype:
    def __init__(self, name, align=False, copy=True):
        name = _text(name)
        if name not in _PLAIN_DTYPES:
            raise ValueError(f"NumPy dtype {name!r}: only bools and integers are read")
        self.dtype = np.dtype(name)

    def set_state(self, state):
        self.dtype = self.dtype.newbyteorder(_text(state[1]))


def _reconstruct(array_type, shape, typecode):
    if array_type is not PickledArray:
        raise ValueError("NumPy array of another type than numpy.ndarray")
    return PickledArray()


def _frombuffer(data, dtype, shape, order):
    array = PickledArray()
    array.fill(data, dtype, shape)
    return array


def _scalar(dtype, data):
    return _frombuffer(data, dtype, (1,), "C").numpy()[0].item()


def _text(value):
    """`value`, a `str` of Python 3 or of Python 2 (bytes); the repr of anything else could be endless."""
    if not isinstance(value, (bytes, str)):
        raise ValueError("damaged pickle: a name that is no text")
    return value.decode("ascii") if isinstance(value, bytes) else value


_GLOBALS = {("numpy", "ndarray"): PickledArray, ("numpy", "dtype"): _PickledDtype}
for _core in ("numpy.core", "numpy._core"):  # the name before and since NumPy 2
    _GLOBALS[_core + ".multiarray", "_reconstruct"] = _reconstruct
    _GLOBALS[_core + ".multiarray", "scalar"] = _scalar
    _GLOBALS[_core + ".numeric", "_frombuffer"] = _frombuffer


class _Interpreter:
    """The pickle's stack machine; method `op_x` carries out opcode X."""

    def __init__(self, data):
        self.stream = io.BytesIO(data)
        self.stack, self.stacks_below_marks, self.memo = [], [], {}
        self.globals = {**_GLOBALS, ("_codecs", "encode"): self.encode_latin1}
        self.encode_budget = len(data)
        self.most_opcodes = _OPCODES_AT_LEAST + len(data) // _BYTES_AN_OPCODE

    def run(self):
        try:
            for _ in range(self.most_opcodes):
                name, arg = self.next_opcode()
                if name == "STOP":
                    return self.stack.pop()
                self.step(name, arg)
            raise ValueError(f"refused: more opcodes than images in {len(self.stream.getvalue())} bytes have use for")
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"damaged pickle before byte {self.stream.tell()} ({error})") from error

    def next_opcode(self):
        code = self.stream.read(1)
        if not code:
            raise ValueError("the pickle is truncated")
        if code not in _OPCODES:
            raise ValueError(f"not a pickle: unknown opcode {code!r} at byte {self.stream.tell() - 1}")
        info = _OPCODES[code]
        if info.name == "STRING":
            return info.name, self.read_string_line()
        if info.arg is not None and info.arg.name.startswith("decimalnl"):
            self.check_digits()
        arg = None if info.arg is None else info.arg.reader(self.stream)
        if info.name in _PYTHON2_STRINGS:
            arg = arg.encode("latin-1")
        return info.name, bytes(arg) if isinstance(arg, bytearray) else arg

    def check_digits(self):
        """Raise ValueError for a number of many digits: to read them takes time with the square of their number."""
        start = self.stream.tell()
        if len(self.stream.readline(_LONGEST_NUMBER + 1)) > _LONGEST_NUMBER:
            raise ValueError("refused: a number of many digits, for which plain data has no use")
        self.stream.seek(start)

    def read_string_line(self):
        """Python 2's text form of a `str`, which pickletools decodes as ASCII: images are not."""
        line = self.stream.readline()
        if len(line) < 3 or line[-1:] != b"\n" or line[:1] not in b"'\"" or line[-2:-1] != line[:1]:
            raise ValueError("the pickle is truncated or holds a string without quotes")
        return codecs.escape_decode(line[1:-2])[0]

    def step(self, name, arg):
        if name in _LITERALS:
            self.push(arg)
        elif name in _CONSTANTS:
            self.push(_CONSTANTS[name])
        elif name in _TUPLE_SIZES:
            self.pop_tuple(_TUPLE_SIZES[name])
        elif hasattr(self, "op_" + name.lower()):
            getattr(self, "op_" + name.lower())(arg)
        elif name not in _WITHOUT_EFFECT:
            detail = "" if arg is None else f" ({arg})"
            raise ValueError(f"refused: opcode {name}{detail:.80}, for which plain data has no use")

    def encode_latin1(self, text, encoding):
        # Python 3 writes bytes in protocols 0-2 as a call of this, each with its own text; one memoised text
        # that is encoded again and again would fill the memory from a small file.
        self.encode_budget -= len(text)
        if _text(encoding) not in ("latin1", "latin-1") or self.encode_budget < 0:
            raise ValueError("refused: a call of _codecs.encode for which plain data has no use")
        return text.encode("latin-1")

    def push(self, item):
        self.stack.append(item)

    def pop_to_mark(self):
        items, self.stack = self.stack, self.stacks_below_marks.pop()
        return items

    def pop_tuple(self, size):
        if len(self.stack) < size:
            raise ValueError("damaged pickle: a tuple without its items")
        items = tuple(self.stack[-size:])
        self.stack[-size:] = [items]

    def find_global(self, module, name):
        if (module, name) not in self.globals:
            raise ValueError(f"refused: the name {f'{module}.{name}':.80}, for which plain data has no use")
        self.push(self.globals[module, name])

    def op_global(self, arg):
        self.find_global(*arg.split(" ", 1))

    def op_stack_global(self, _):
        name, module = self.stack.pop(), self.stack.pop()
        self.find_global(_text(module), _text(name))

    def op_reduce(self, _):
        args, function = self.stack.pop(), self.stack.pop()
        # Only `find_global` puts something callable on the stack.
        self.push(function(*args))

    def op_build(self, _):
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, (PickledArray, _PickledDtype)):
            raise ValueError("refused: the state of something that is no NumPy array")
        target.set_state(state)

    def op_mark(self, _):
        self.stacks_below_marks.append(self.stack)
        self.stack = []

    def op_list(self, _):
        self.push(self.pop_to_mark())

    def op_tuple(self, _):
        self.push(tuple(self.pop_to_mark()))

    def op_empty_list(self, _):
        self.push([])

    def op_empty_tuple(self, _):
        self.push(())

    def op_append(self, _):
        item = self.stack.pop()
        self.stack[-1].append(item)

    def op_appends(self, _):
        items = self.pop_to_mark()
        self.stack[-1].extend(items)

    def op_put(self, index):
        self.memo[index] = self.stack[-1]

    op_binput = op_long_binput = op_put

    def op_memoize(self, _):
        self.memo[len(self.memo)] = self.stack[-1]

    def op_get(self, index):
        self.push(self.memo[index])

    op_binget = op_long_binget = op_get
