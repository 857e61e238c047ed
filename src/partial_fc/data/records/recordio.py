"""The format of MXNet's record files, read and written.

A record is one part or several. A part is the magic number, a word with its kind (upper 3 bits) and length (lower 29),
and its bytes, padded to a multiple of 4. Where content holds the magic number at a multiple of 4, it is left out and
the record continues in the next part: so a reader that has lost its place can find the next record. The record of an
image begins with a header: flag, label, id, id2; a flag other than 0 is the number of floats that follow, the label.
"""

import mmap
import os
import struct
from typing import BinaryIO, Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, TypeVar, Union

import numpy as np

MAGIC = 0xCED7230A
EXACT = 2**24  # labels are stored as float32, which holds integers up to here
_MAGIC_BYTES = struct.pack("<I", MAGIC)
_PART = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
HEADER_SIZE = _HEADER.size
_BOTH = struct.Struct("<IIIfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
LONGEST = 2**29 - 1
# Bytes: one system call for most records, as aligned faces of 112 x 112 pixels take 3 to 12 kB.
READ_AT_ONCE = 2**14


class Record(NamedTuple):
    """A record.

    Attributes:
        label: of the header, or float32 array of those that follow it.
        id, id2: of the header.
        content: encoded image; empty for the range of an identity.
        end: position after the record, in bytes.
    """

    label: Union[float, np.ndarray]
    id: int
    id2: int
    content: bytes
    end: int


class Header(NamedTuple):
    """The header of a record.

    Attributes:
        id: the first of its two.
        has_image: whether content follows.
        end: position after the record, in bytes.
    """

    id: int
    has_image: bool
    end: int


Found = TypeVar("Found", Record, Header)


def read_record(file: int, position: int, at_once: int = READ_AT_ONCE) -> Record:
    """The record at a position of an open file; threads may share the descriptor.

    Args:
        file: descriptor.
        position: of the record, in bytes.
        at_once: bytes of the first read; a longer record takes a second one.

    Raises:
        ValueError: there is no whole record at that position.
        OSError: the file cannot be read.
    """
    data = os.pread(file, at_once, position)
    if len(data) >= _BOTH.size:
        # Nearly all records: one part, one label, read in full. The rest is for other records, and for damaged ones.
        magic, length, flag, label, number, number2 = _BOTH.unpack_from(data)
        end = _PART.size + length
        if magic == MAGIC and not flag and _BOTH.size <= end <= len(data):
            return Record(label, number, number2, data[_BOTH.size : end], position + _padded(end))
    kind, start, end = _part(data)
    if kind != _WHOLE:
        data, position = _join_parts(file, position)
        start, end = 0, len(data)
    else:
        _check_label(file, data, position, end)  # before memory for a long record is allocated
        if end > len(data):
            data = _pread(file, end, position)
        position += _padded(end)
    content = start + _HEADER.size
    if content > end:
        raise ValueError(f"it is {end - start} bytes long, too short for a header")
    flag, label, number, number2 = _HEADER.unpack_from(data, start)
    if flag:
        start, content = content, content + 4 * flag
        if content > end:
            raise ValueError(f"its header announces {flag} floats, more than the record holds")
        label = np.frombuffer(data[start:content], "<f4")
    return Record(label, number, number2, data[content:end], position)


def read_header(file: int, position: int) -> Header:
    """The header of the record at a position of an open file; its content is not read.

    Args:
        file: descriptor.
        position: of the record, in bytes.

    Raises:
        ValueError: there is no whole record at that position.
        OSError: the file cannot be read.
    """
    data = os.pread(file, _BOTH.size, position)
    kind, _, end = _part(data)
    if kind != _WHOLE:
        record = read_record(file, position)
        return Header(record.id, len(record.content) > 0, record.end)
    _check_within(file, position + end)
    if end < _BOTH.size:
        raise ValueError(f"it is {end - _PART.size} bytes long, too short for a header")
    _, _, numbers, _, number, _ = _BOTH.unpack(data)
    return Header(number, end > _BOTH.size + 4 * numbers, position + _padded(end))


def walk(
    file: int, data: mmap.mmap, position: int, stop: int, read: Callable[[int, int], Found]
) -> Iterator[Tuple[int, Optional[Found], int]]:
    """Yield the records of a part of a file; after a damaged one, the search continues with the next magic number.

    Args:
        file: descriptor.
        data: the same file, mapped into memory.
        position: to start at, in bytes.
        stop: to stop at.
        read: `read_record` or `read_header`.

    Yields:
        (position, result of `read`, position after it); None for bytes that are not a record.
    """
    while position < stop:
        found: Optional[Found] = None
        try:
            _check_parts(data, position)
            found = read(file, position)
            end = found.end
        except (ValueError, OSError):
            end = _next_start(data, position + 4, stop)
        yield position, found, end
        position = end


def _check_parts(data, position):
    """Raise ValueError for a record of several parts, one of which holds the magic number where none can.

    Such a part hides the start of another record. To follow records that begin inside each other would take time with
    the square of their number.
    """
    kind = None
    while kind not in (_WHOLE, _LAST):
        kind, start, end = _part(data[position : position + _PART.size])
        start, end = position + start, position + end
        if kind != _WHOLE and _aligned_magic(data, start, end) is not None:
            raise ValueError("one of its parts holds the start of another record")
        position = _padded(end)


def _aligned_magic(data, start, stop):
    """The first multiple of 4 from `start` on, before `stop`, with the magic number; None if there is none."""
    place = data.find(_MAGIC_BYTES, start, stop)
    while place >= 0 and place % 4:
        place = data.find(_MAGIC_BYTES, place + 1, stop)
    return place if place >= 0 else None


def _next_start(data, position, stop):
    """The next multiple of 4 that looks like the start of a record, at most `stop`."""
    while True:
        position = _aligned_magic(data, position, stop)
        if position is None:
            return stop
        if position + 8 <= stop and data[position + 7] >> 5 in (_WHOLE, _FIRST):
            return position
        position += 4


def write_record(
    file: BinaryIO, label: Union[float, Sequence[float]], number: int, number2: int, content: bytes
) -> int:
    """Write a record at the end of an open binary file; returns its length in bytes.

    Args:
        file: binary file.
        label: one float, or several.
        number: `id` of the header.
        number2: `id2` of the header.
        content: encoded image, or empty.

    Raises:
        ValueError: the record would have half a gigabyte or more.
    """
    if np.ndim(label):
        floats = np.asarray(label, "<f4")
        header = _HEADER.pack(len(floats), 0.0, number, number2) + floats.tobytes()
    else:
        header = _HEADER.pack(0, label, number, number2)
    record = header + content
    if len(record) > LONGEST:
        raise ValueError(f"a record of {len(record)} bytes is longer than the format allows")
    places = _magic_places(record)
    starts, ends = [0] + [place + 4 for place in places], places + [len(record)]
    written = 0
    for index, (start, end) in enumerate(zip(starts, ends)):
        kind = _WHOLE if not places else _FIRST if not index else _LAST if index == len(places) else _MIDDLE
        length = end - start
        file.write(_PART.pack(MAGIC, kind << 29 | length))
        file.write(record[start:end])
        file.write(bytes(-length % 4))
        written += _PART.size + _padded(length)
    return written


def _magic_places(record):
    """Multiples of 4 at which the record holds the magic number."""
    places: List[int] = []
    place = record.find(_MAGIC_BYTES)
    while place >= 0:
        if place % 4 == 0:
            places.append(place)
        place = record.find(_MAGIC_BYTES, place + 1)
    return places


def _join_parts(file, position):
    """Content and end of a record of several parts; all are located before one is read."""
    places: List[Tuple[int, int, int]] = []
    kind = None
    while kind != _LAST:
        expected = (_FIRST,) if not places else (_MIDDLE, _LAST)
        kind, start, end = _part(os.pread(file, _PART.size, position))
        if kind not in expected:
            raise ValueError("its parts are not in order")
        places.append((position, start, end))
        position += _padded(end)
    return _MAGIC_BYTES.join(_pread(file, end, place)[start:] for place, start, end in places), position


def _check_label(file, data, position, end):
    """Raise ValueError unless a record of one part can hold its label, as far as its first bytes, `data`, show."""
    _check_within(file, position + end)
    if len(data) >= _BOTH.size and _BOTH.size + 4 * _BOTH.unpack_from(data)[2] > end >= _BOTH.size:
        raise ValueError(f"its header announces {_BOTH.unpack_from(data)[2]} floats, more than the record holds")


def _part(data):
    """Kind of the part that `data` begins with, and where its bytes start and end."""
    if len(data) < _PART.size:
        raise ValueError("the file ends before it")
    magic, word = _PART.unpack_from(data)
    if magic != MAGIC:
        raise ValueError("no record starts at its position in the index (`partial-fc data index` rebuilds it)")
    return word >> 29, _PART.size, _PART.size + (word & LONGEST)


def _pread(file, length, position):
    _check_within(file, position + length)  # before memory of a damaged length is allocated
    data = b""
    while len(data) < length:
        more = os.pread(file, length - len(data), position + len(data))
        if not more:
            raise ValueError("the file ends within it")
        data += more
    return data


def _check_within(file, end):
    if end > os.fstat(file).st_size:
        raise ValueError("the file ends within it")


def _padded(length):
    return length + -length % 4
