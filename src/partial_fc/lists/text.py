"""Reads the lines and numbers of lists in text files.

Lines end as on any system, the last one also without a line ending; blank lines are skipped. The text is UTF-8, or
UTF-16 with a byte order mark; bytes that are not UTF-8 are kept, as in names of files. Byte order marks are removed.
"""

import codecs
import io
import re
from typing import Callable, Iterator, List, Optional, Tuple, TypeVar

from ..errors import InputError

_Number = TypeVar("_Number", int, float)

_BLOCK = 2**20  # characters; no line may be longer
_LONGEST = 64  # characters of an integer, with leading zeros
_DIGITS = 18  # of an integer: it fits into int64
_TOO_LARGE = 1e30  # bound of decimal numbers, so that they fit into float32
_SHOWN = 80  # characters of a line in an error message
_BYTE_ORDER_MARK = "\ufeff"
_REAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


def text_blocks(path: str, shown: Optional[str] = None) -> Iterator[Tuple[int, str]]:
    """Yield (number of the first line, text) of a file, about a million characters of whole lines at a time.

    Every line ends with a line feed. Bytes that are not UTF-8 become surrogates, as in names of files.

    Args:
        path: of the file.
        shown: name of the file in error messages; by default its path.

    Raises:
        InputError: the file cannot be read, or a line has zero bytes or more than a million characters; the message
            names the file, and the line.
    """
    shown, number, rest = shown or path, 1, ""
    for block in _decoded(path, shown):
        text = rest + (block or "\n" * bool(rest))
        _check_text(text, shown, number)
        cut = text.rfind("\n") + 1
        whole, rest = text[:cut], text[cut:]
        if whole:
            yield number, whole
            number += whole.count("\n")
        if len(rest) > _BLOCK:
            raise InputError(f"{shown}, line {number}: has more than {_BLOCK} characters: it is not a list")


def read_text(path: str, most: int) -> str:
    """Text of a file of at most `most` characters, with lines of any length; raises InputError as `text_blocks`."""
    blocks, length = [], 0
    for block in _decoded(path, path):
        blocks.append(block)
        length += len(block)
        if length > most:
            raise InputError(f"{path}: has more than {most:,} characters, the limit for such a file")
    text = "".join(blocks)
    _check_text(text, path, 1)
    return text


def text_lines(path: str, shown: Optional[str] = None) -> Iterator[Tuple[int, str]]:
    """Yield (number, line) of the lines of a file that are not blank; arguments and errors as `text_blocks`."""
    for first, text in text_blocks(path, shown):
        yield from numbered_lines(first, text)


def numbered_lines(first: int, text: str) -> Iterator[Tuple[int, str]]:
    """(number, line) of the lines of a text that are not blank; `first` is the number of the first line."""
    return ((number, line) for number, line in enumerate(text.split("\n"), start=first) if line and not line.isspace())


def _open(path, shown):
    try:
        file = open(path, "rb")
        start = file.peek(2)
    except OSError as error:
        raise InputError(f"{shown}: cannot be read: {error.strerror}") from error
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return io.TextIOWrapper(file, "utf-16")
    return io.TextIOWrapper(file, "utf-8", errors="surrogateescape")


def _decoded(path, shown):
    """Yield the text of a file block by block, and an empty text at the end."""
    with _open(path, shown) as file:
        block = None
        while block != "":
            try:
                block = file.read(_BLOCK)
            except OSError as error:
                raise InputError(f"{shown}: cannot be read: {error.strerror}") from error
            except UnicodeError as error:
                raise InputError(f"{shown}: begins as UTF-16, but is not: {error}") from error
            text = block.replace(_BYTE_ORDER_MARK, "")  # also within, where files were concatenated
            if text or not block:
                yield text


def _check_text(text, shown, number):
    """Raise InputError if there is a zero byte in a text; `number` is that of its first line."""
    if "\0" in text:
        number += text.count("\n", 0, text.index("\0"))
        raise InputError(
            f"{shown}, line {number}: has a zero byte: it is a binary file, or UTF-16 without a byte order mark; "
            "expected a list in UTF-8"
        )


def whole_numbers(fields: List[str], low: int = 0) -> List[int]:
    """Integers from `low` on, of at most 18 ASCII digits; raises ValueError for anything else."""
    _check_digits("".join(fields))
    if max(map(len, fields)) > _LONGEST:  # the time to read one grows with the square of the digits
        raise ValueError("out of range")
    numbers = [int(field) for field in fields]
    if min(numbers) < low or max(numbers) >= 10**_DIGITS:
        raise ValueError("out of range")
    return numbers


def real_numbers(fields: List[str]) -> List[float]:
    """Decimal numbers such as 1.5 or 2e-3, of ASCII digits; raises ValueError for anything else, also nan and 1e99."""
    _check_digits("".join(fields))
    numbers = [float(field) for field in fields]
    if not sum(map(abs, numbers)) < _TOO_LARGE:  # also false for nan
        raise ValueError("out of range")
    return numbers


def _check_digits(text):
    """Raise ValueError for digits of other scripts and for 1_000, which Python would accept."""
    if "_" in text or not text.isascii():
        raise ValueError("not a number")


def ways_to_split(line: str) -> Iterator[List[str]]:
    """Yield the fields of a line split at tabs, if it has any, at commas, if it has any, and at spaces."""
    for separator in "\t", ",":
        if separator in line:
            yield [field.strip() for field in re.split(f"{separator}+", line.strip())]
    yield line.split()


def name_and_numbers(line: str, count: int, parse: Callable[[List[str]], List[_Number]]) -> Tuple[str, List[_Number]]:
    """The name at the start of a line and the `count` numbers after it.

    Tabs, commas or spaces separate them; the name may contain the other two.

    Args:
        line: of a list.
        count: of numbers.
        parse: `whole_numbers` or `real_numbers`.

    Raises:
        ValueError: the line has another form, or more numbers.
    """
    for separator in "\t", ",", None:
        if separator is None or separator in line:
            name, *fields = line.strip().rsplit(separator, count)
            try:
                if len(fields) == count and name and not _ends_in_number(name, separator):
                    return name.rstrip(), parse(fields)
            except ValueError:
                continue
    raise ValueError(f"expected a name and {count} numbers")


def _ends_in_number(name, separator):
    return name[-1] in "0123456789. " and bool(_REAL.fullmatch(name.rsplit(separator, 1)[-1].strip()))


def shown_text(text: str) -> str:
    """A line or field for an error message: quoted, and truncated if it is long."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
