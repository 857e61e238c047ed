"""The page in a real browser: nothing is fetched, nothing fails, the numbers are there, curves can be pointed at."""

import json
import os

import pytest

from partial_fc.cli.report import main

from helpers.browser import browser, needs_browser
from helpers.report import conflicts_of, evaluation, measured, write_mistakes, write_run, write_sheets

pytestmark = needs_browser

HOSTILE = '<script>window.hacked = 1</script><img src="http://example.com/x.png" onerror="window.hacked = 1">'
NAMES = (f"{HOSTILE}\"quotes' & <b>bold</b>", "日本語の名前/写真\u202e 1.jpg")


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    """A browser for all tests."""
    with browser(str(tmp_path_factory.mktemp("browser"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A page of two runs, an unfinished one among them, evaluations, conflicts with sheets, 10,000 pairs; with hostile
    names."""
    folder = tmp_path_factory.mktemp("page")
    sets = {"lfw": measured(), HOSTILE: measured(last=0.5)}
    runs = [write_run(folder / "日本語 <b>run", sets=sets), write_run(folder / "second", finished=False, updates=300)]
    results = folder / "results.json"
    results.write_text(json.dumps([evaluation(HOSTILE), evaluation(data="<script>")]))
    conflicts = folder / "conflicts.json"
    found = conflicts_of(HOSTILE)
    conflicts.write_text(json.dumps(dict(found, clusters=150 * found["clusters"])))
    mistakes, _ = write_mistakes(folder / "mistakes", 10000, NAMES)
    sheets = write_sheets(folder / "sheets", NAMES)
    assert main([*runs, str(results), str(conflicts), mistakes, sheets, str(folder / "out.html")]) == 0
    return str(folder / "out.html")


def text_of(page):
    return page.value("document.body.innerText")


def drawn(page):
    """Number of the charts, once all are drawn."""
    page.wait("[...document.querySelectorAll('.chart')].every(each => each.querySelector('.subplot'))")
    return page.value("document.querySelectorAll('.chart').length")


@pytest.mark.parametrize("width, dark", [(1280, False), (400, False), (400, True)])
def test_nothing_fails_and_nothing_is_fetched(window, everything, width, dark):
    window.open(everything, width, dark=dark)
    assert drawn(window) >= 8
    assert not window.complaints and window.requests == ["file://" + everything]
    assert not window.value("window.hacked")
    assert window.value("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1200, 400])
def test_contact_sheets_can_be_read(window, everything, width):
    """Each has a line of its own and a width at which its names can be read; it moves in its card, not the page."""
    window.open(everything, width)
    sheets = window.value(
        "[...document.querySelectorAll('img.sheet')].map(each => { const box = each.getBoundingClientRect(),"
        " around = each.closest('.wide'); return { natural: each.naturalWidth, shown: box.width, top: box.top,"
        " card: around.clientWidth, moves: around.scrollWidth > around.clientWidth }; })"
    )
    assert len(sheets) == 2 and sheets[0]["top"] < sheets[1]["top"]
    for each in sheets:
        assert each["natural"] == 1300 and each["shown"] > 1000 and each["card"] <= width
        assert each["moves"] == (width == 400)
    assert window.value("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1200, 400])
def test_a_long_list_of_conflicts_scrolls_in_its_card(window, everything, width):
    window.open(everything, width)
    shown, all_of_it = window.value("(each => [each.clientHeight, each.scrollHeight])(document.querySelector('.tall'))")
    assert shown < 600 and all_of_it > 3000


def test_names_are_shown_as_they_are(window, everything):
    window.open(everything)
    text = text_of(window)
    assert NAMES[0] in text and HOSTILE in text and "日本語 <b>run" in text
    assert "写真\\u202e 1.jpg" in text and "\u202e" not in text
    drawn(window)
    legends = window.value("[...document.querySelectorAll('.legendtext')].map(each => each.textContent)")
    assert "日本語 <b>run" in legends and max(map(len, legends)) == 55


def test_numbers_are_there(window, everything):
    window.open(everything)
    text = text_of(window)
    for number in (
        "94.80",
        "best 95.10 at update 600",
        "3,314",
        "1:01:11",
        "90.92 ± 1.05",
        "99.82",
        "75.10",
        "10,000",
        "0.8123",
    ):
        assert number in text, number


def test_a_curve_can_be_pointed_at(window, tmp_path):
    assert main([write_run(tmp_path / "run"), str(tmp_path / "out.html")]) == 0
    window.open(tmp_path / "out.html", 1000)
    drawn(window)
    window.value("document.querySelector('.chart').scrollIntoView()")
    box = window.value(
        "(() => { const b = document.querySelector('.chart .nsewdrag').getBoundingClientRect();"
        " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
    )
    window.point_at(*box)
    window.wait("document.querySelector('.chart .hoverlayer text')")
    assert "5.0" in window.value("document.querySelector('.chart .hoverlayer').textContent")


def test_no_button_sends_a_chart_anywhere(window, everything):
    window.open(everything)
    drawn(window)
    buttons = window.value(
        "[...new Set([...document.querySelectorAll('.modebar-btn')].map(each => each.dataset.title))]"
    )
    assert sorted(buttons) == ["Download plot as a PNG", "Pan", "Reset axes", "Zoom", "Zoom in", "Zoom out"]


def test_charts_have_the_colors_of_the_window(window, everything):
    colors = []
    for dark in (False, True):
        window.open(everything, dark=dark)
        drawn(window)
        colors.append(window.value("getComputedStyle(document.querySelector('.xtick text')).fill"))
        colors.append(window.value("getComputedStyle(document.body).backgroundColor"))
    assert len(set(colors)) == 4


def test_ten_thousand_pairs_are_a_small_page(window, everything, tmp_path):
    assert main([write_run(tmp_path / "run"), str(tmp_path / "out.html")]) == 0
    sizes = [os.path.getsize(each) for each in (everything, tmp_path / "out.html")]
    assert sizes[0] - sizes[1] < 2**20
    window.open(everything)
    assert window.value("performance.timing.loadEventEnd - performance.timing.navigationStart") < 10000
