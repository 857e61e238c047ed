"""Names in pictures: in fonts that have their characters, in reading order, in lines that fit."""

import re
import unicodedata
from typing import FrozenSet, Iterable, List, NamedTuple, Sequence

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from matplotlib.legend import Legend
from matplotlib.text import Text

from ..output.printable import escaped
from .right_to_left import in_visual_order

_DEFAULT = "sans-serif"
_NO_GLYPHS = re.compile("last ?resort", re.IGNORECASE)  # fonts that have a box for every character


class Labels(NamedTuple):
    """How to draw names.

    Attributes:
        families: of fonts, for matplotlib, each for characters that those before do not have.
        missing: characters that no font has; they are drawn as `\\uXXXX`.
    """

    families: List[str]
    missing: FrozenSet[str]

    @classmethod
    def of(cls, names: Iterable[str]) -> "Labels":
        """Labels for names of any script; fonts of the system are searched for characters that the default lacks."""
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
        """Text to draw for a name: lines of at most `columns` columns, of which wide characters take two."""
        return "\n".join("".join(map(self._shown, in_visual_order(line))) for line in self._lines(name, columns))

    def apply(self, text: Text, name: str, columns: int) -> None:
        """Make a matplotlib text show a name literally: `$` and `_` have no special meaning."""
        self.prepare(text)
        text.set_text(self.text(name, columns))

    def prepare(self, text: Text) -> None:
        """Make a matplotlib text draw literally what `self.text` returns."""
        text.set_parse_math(False)
        text.set_fontfamily(self.families)

    def _lines(self, name, columns):
        """The name in lines, broken between words where possible."""
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


def name_lines(legend: Legend, names: Sequence[str], columns: int) -> None:
    """Set the names, of any script, in a matplotlib legend; given as labels, names that begin with `_` are hidden."""
    labels = Labels.of(names)
    for text, name in zip(legend.get_texts(), names):
        labels.apply(text, name, columns)


def _is_drawn(character):
    """Whether a character can be drawn: it is assigned, and `escaped` leaves it as it is."""
    return escaped(character) == character and unicodedata.category(character) != "Cn"


def _characters(family):
    """Characters of the font that matplotlib finds for a family."""
    try:
        path = font_manager.findfont(font_manager.FontProperties(family=[family]), fallback_to_default=False)
        return set(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return set()
