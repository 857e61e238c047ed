"""Printing of text from elsewhere: characters that control a terminal, or hide or reorder text, are escaped."""

import itertools
import logging
import re
import sys
import unicodedata
from typing import IO, Iterable, Optional

_AT_ONCE = 10_000  # lines
_INDENT = "\n  "
# Controls, ends of lines and paragraphs, marks that reorder or hide text; but not those that join letters and emoji.
_CONTROLS = "\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_CONTROL = re.compile(f"[{_CONTROLS}\U000e0000-\U000e007f]")
_UNSAFE = re.compile(f"[{_CONTROLS}\U000e0000-\U000e007f\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def has_controls(text: str) -> bool:
    """Whether a text has characters that `escaped` escapes, not counting bytes of file names that are not UTF-8."""
    return bool(_CONTROL.search(text))


def escaped(text: str) -> str:
    """A name, cell or line for printing: control characters, those of bidirectional text and bytes that are not UTF-8
    become visible escapes such as `\\x1b`, `\\u202e`, `\\n`."""
    return text if text.isprintable() else _UNSAFE.sub(lambda found: _escape(found[0]), text)


def escaped_message(text: str) -> str:
    """A message, `escaped`, with all lines after the first indented, so that no name can look like another message."""
    return _INDENT.join(map(escaped, text.split("\n")))


class PrintableFormatter(logging.Formatter):
    """Formats log records with `escaped_message`, so that whatever is logged is safe in terminals and files."""

    def format(self, record: logging.LogRecord) -> str:
        """Text of the record."""
        return escaped_message(super().format(record))


def encodable(text: str, file: IO) -> str:
    """A text with escapes in place of the characters that the encoding of a text file lacks."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def print_lines(lines: Iterable[str], file: Optional[IO] = None) -> None:
    """Print lines, `escaped` and `encodable`, to a text file, many at a time; None: standard output."""
    file, lines = file or sys.stdout, iter(lines)
    for first in lines:
        block = [first, *itertools.islice(lines, _AT_ONCE)]
        print(encodable("\n".join(map(escaped, block)), file), file=file, flush=True)


def print_message(text: str) -> None:
    """Print an `error: ...`, `warning: ...` or the like to standard error, see `escaped_message`."""
    print_lines(escaped_message(text).split("\n"), sys.stderr)


def _escape(character: str) -> str:
    code = ord(character)
    if unicodedata.category(character) == "Cs" and 0xDC80 <= code:  # a byte of a file name
        code -= 0xDC00
    short = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _SHORT.get(character, short)
