"""Names in pictures: fonts, escapes, lines."""

import fontTools.fontBuilder
import pytest
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from partial_fc.pictures.labels import Labels


def write_font(path, family, characters):
    """A font in which each of the characters is a square."""
    pen = TTGlyphPen(None)
    for number, point in enumerate([(0, 0), (0, 500), (500, 500), (500, 0)]):
        (pen.lineTo if number else pen.moveTo)(point)
    pen.closePath()
    glyph, names = pen.glyph(), [".notdef", *(f"u{ord(character):04x}" for character in characters)]
    builder = fontTools.fontBuilder.FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(character): name for character, name in zip(characters, names[1:])})
    builder.setupGlyf({name: glyph for name in names})
    builder.setupHorizontalMetrics({name: (600, 0) for name in names})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(str(path))


@pytest.fixture
def fonts(tmp_path, monkeypatch):
    """Function that adds a font to those of the system."""
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", [font for font in manager.ttflist if "dejavu" in font.name.lower()])

    def add(family, characters):
        write_font(tmp_path / f"{family}.ttf", family, characters)
        manager.addfont(str(tmp_path / f"{family}.ttf"))

    yield add
    manager.addfont(manager.ttflist[0].fname)  # makes it forget which fonts it has found


def test_own_font_is_enough(fonts):
    fonts("Asia", "\u9854")
    assert Labels.of(["models/a_1", "модели", "αβγ"]) == (["sans-serif"], frozenset())


def test_fonts_of_the_system_are_used_as_few_as_will_do(fonts):
    fonts("A Part", "\u9854")
    fonts("Last Resort", "\u9854\u8b58\u4eba\u0939")
    fonts("More", "\u9854\u8b58")
    labels = Labels.of(["a\u9854", "\u8b58/\u4eba"])
    assert labels == (["sans-serif", "More"], frozenset("\u4eba"))
    assert labels.text("a\u9854\u4eba", 80) == "a\u9854\\u4eba"


def test_what_no_font_has_is_escaped(fonts):
    name = "\u9854 \U0001f9ff \udce9 \n \x07 \u0378"
    shown = Labels.of([name]).text(name, 80)
    assert shown == "\\u9854 \\U0001f9ff \\xe9 \\n \\x07 \\u0378"


def test_long_names_get_lines(fonts):
    fonts("Asia", "\u9854")
    labels = Labels.of(["\u9854"])
    assert labels.text("models/first/second,12", 14) == "models/first/\nsecond,12"
    assert labels.text("a" * 25, 10) == "a" * 10 + "\n" + "a" * 10 + "\n" + "a" * 5
    assert labels.text("\u9854" * 7, 10) == "\u9854" * 5 + "\n" + "\u9854" * 2
    assert labels.text("", 10) == ""
