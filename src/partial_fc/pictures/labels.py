"""Names in pictures: in fonts that have their characters, in the order in which they are read, in lines that fit."""

import re
import unicodedata
from typing import Iterable, List, NamedTuple

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from ..output.printable import escaped
from .right_to_left import in_visual_order

_DEFAULT = "sans-serif"
_NO_GLYPHS = re.compile("last ?resort", re.IGNORECASE)  # fonts that have a box for every character


class Labels(NamedTuple):
    """How to draw names.

    Attributes:
        families: of fonts, for matplotlib, each for the characters that those before lack.
        missing: characters that no font has; they are written as `\\uXXXX`.
    """

    families: List[str]
    missing: frozenset

    @classmethod
    def of(cls, names: Iterable[str]) -> "Labels":
        """Labels for names (str) of any script; fonts of the system are looked at where matplotlib's own do not do."""
        wanted = {character for name in names for character in in_visual_order(name) if _is_drawn(character)}
        families, missing = [_DEFAULT], wanted - _characters(_DEFAULT)
        candidates = {entry.name for entry in font_manager.fontManager.ttflist} if missing else set()
        found = {name: _characters(name) & missing for name in sorted(candidates) if not _NO_GLYPHS.search(name)}
        while missing and found:
            best = max(found, key=lambda name: len(found[name] & missing))
            if not found[best] & missing:
                break
            families.append(best)
            missing -= found[best]
        return cls(families, frozenset(missing))

    def text(self, name: str, columns: int) -> str:
        """What to draw for a name: lines of at most so many columns, wide characters counted as two."""
        return "\n".join("".join(map(self._shown, in_visual_order(line))) for line in self._lines(name, columns))

    def apply(self, text, name: str, columns: int) -> None:
        """Make matplotlib's Text `text` show a name, whose `$` and `_` mean nothing else."""
        self.prepare(text)
        text.set_text(self.text(name, columns))

    def prepare(self, text) -> None:
        """Make matplotlib's Text `text` draw what `text` returns as it is."""
        text.set_parse_math(False)
        text.set_fontfamily(self.families)

    def _lines(self, name, columns):
        """The name in lines that end, where possible, at something other than a letter or number."""
        lines, width = [""], 0
        for part in re.findall(r"\w+\W*|\W+", name):
            if lines[-1] and width + self._width(part) > columns:
                lines, width = [*lines, ""], 0
            for character in part:
                if width + self._width(character) > columns:
                    lines, width = [*lines, ""], 0
                lines[-1] += character
                width += self._width(character)
        return lines

    def _width(self, text):
        return sum(1 + (unicodedata.east_asian_width(shown) in "WF") for shown in "".join(map(self._shown, text)))

    def _shown(self, character):
        if _is_drawn(character) and character not in self.missing:
            return character
        code = ord(character)
        hidden = escaped(character)
        return hidden if hidden != character else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def name_lines(legend, names, columns: int) -> None:
    """Give the entries of a matplotlib legend these names (list of str), of any script; it hides those that begin with
    `_` where they are given to it at once."""
    labels = Labels.of(names)
    for text, name in zip(legend.get_texts(), names):
        labels.apply(text, name, columns)


def _is_drawn(character):
    """Whether a character is one to draw: none that `escaped` escapes, and assigned."""
    return escaped(character) == character and unicodedata.category(character) != "Cn"


def _characters(family):
    """Set of the characters in the font that matplotlib takes for a family."""
    try:
        path = font_manager.findfont(font_manager.FontProperties(family=[family]), fallback_to_default=False)
        return set(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return set()
