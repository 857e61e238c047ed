"""Arabic and Hebrew for programs that draw characters one by one from left to right: letters are joined and reordered.

Source: The Unicode Standard, 9.2 (joining of Arabic letters) and Annex 9 (bidirectional text), as far as names need it:
runs of right-to-left letters in a line that is read from left to right.
"""

import re
import unicodedata
from typing import List

_RIGHT_TO_LEFT, _NUMBERS, _MARK = ("R", "AL"), ("EN", "AN"), "NSM"
_MIRRORED = str.maketrans("()[]{}<>", ")(][}{><")


def _joined_forms():
    """Character by (form of a joined letter, letters that it stands for)."""
    forms = {}
    for code in range(0xFE80, 0xFEFD):
        form, *letters = unicodedata.decomposition(chr(code)).split()
        forms[form.strip("<>"), "".join(chr(int(letter, 16)) for letter in letters)] = chr(code)
    return forms


_FORMS = _joined_forms()
_LIGATURES = sorted({letters for _, letters in _FORMS if len(letters) == 2})


def in_visual_order(line: str) -> str:
    """Characters of a line in the order to draw them from left to right; without right-to-left letters unchanged."""
    kinds = [unicodedata.bidirectional(character) for character in line]
    places = [place for place, kind in enumerate(kinds) if kind in _RIGHT_TO_LEFT]
    if not places:
        return line
    runs, start = [], places[0]
    for place, following in zip(places, [*places[1:], len(line) + 1]):
        between = kinds[place + 1 : following]
        marks = next((count for count, kind in enumerate(between) if kind != _MARK), len(between))
        if following > len(line) or "L" in between:
            end = place + 1 + marks
            runs.append((start, end + _closes(line[start:end], line[end : end + 1])))
            start = following
    parts, done = [], 0
    for first, last in runs:
        parts += [line[done:first], _reversed(_joined(line[first:last]))]
        done = last
    return "".join([*parts, line[done:]])


def _closes(text, character):
    """Whether a character is a bracket that closes one in the text."""
    opening = character.translate(_MIRRORED) if character in (*")]}>",) else None
    return opening is not None and text.count(opening) > text.count(character)


def _joined(text):
    """The text with Arabic letters in the forms that join their neighbors."""
    units = re.findall("|".join([*_LIGATURES, r"(?s:.)"]), text)
    letters = [unit for unit in units if unicodedata.bidirectional(unit[0]) != _MARK]
    shapes, before = [], False
    for unit, following in zip(letters, [*letters[1:], ""]):
        last = before and ("final", unit) in _FORMS
        before = ("initial", unit) in _FORMS and ("final", following) in _FORMS
        form = "medial" if last and before else "final" if last else "initial" if before else "isolated"
        shapes.append(_FORMS.get((form, unit), unit))
    shaped = iter(shapes)
    return "".join(unit if unicodedata.bidirectional(unit[0]) == _MARK else next(shaped) for unit in units)


def _reversed(text):
    """Characters reversed, but numbers kept from left to right, and marks after their letters."""
    clusters: List[List[str]] = []
    for character in text:
        kind = unicodedata.bidirectional(character)
        if clusters and (kind == _MARK or kind in _NUMBERS and clusters[-1][0] in _NUMBERS):
            clusters[-1][1] += character
        else:
            clusters.append([kind, character])
    return "".join(text for _, text in reversed(clusters)).translate(_MIRRORED)
