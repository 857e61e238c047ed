"""The text of the page; what a browser makes of it is in test_browser.py."""

import base64
import html
import json
import re

import cv2
import numpy as np
import pytest
from markupsafe import escape

from partial_fc.report.charts import label
from partial_fc.report.page import page
from partial_fc.report.sources import read_sources

from helpers.report import conflicts_of, evaluation, measured, write_mistakes, write_run


def page_of(*paths):
    return page(read_sources([str(path) for path in paths]))


def body_of(text):
    """The page without style and programs."""
    return re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.DOTALL)


def charts_of(text):
    """Figures by their headings."""
    found = re.findall(r'<h3>(.*?)</h3>\s*<div></div>\s*<script type="application/json">(.*?)</script>', text)
    return {html.unescape(title): json.loads(figure) for title, figure in found}


def write(path, value):
    path.write_text(json.dumps(value))
    return path


def test_one_run(tmp_path):
    text = page_of(write_run(tmp_path / "run"))
    assert "<title>run</title>" in text and "<b>94.80 %</b>accuracy on demo" in text
    assert "<bdi>1:01:11</bdi>" in text and "record 7: not an image" in text
    charts = charts_of(text)
    assert list(charts) == ["Loss", "Accuracy on verification sets", "Images per second", "Learning rate"]
    around, loss = charts["Loss"]["data"]
    assert len(loss["x"]) == 400 and loss["x"][0] == 1.5 and loss["y"][0] == 20 and max(around["y"]) == 25
    assert charts["Accuracy on verification sets"]["data"][0]["y"] == [0.63, 0.948]
    assert charts["Images per second"]["data"][0]["x"][:2] == [50, 100]


def test_filtered_logits_have_a_chart(tmp_path):
    text = page_of(write_run(tmp_path / "run", ["--set", "interclass_filtering=0.4"], scalars={"filtered": 37.0}))
    chart = charts_of(text)["Filtered logits"]
    assert set(chart["data"][0]["y"]) == {37} and chart["layout"]["yaxis"]["title"]["text"] == "filtered logits"
    assert re.search(r"<th>Filtering</th><td><bdi>0.4, exact</bdi></td>", text)


def test_what_is_missing_is_explained_by_a_command(tmp_path):
    text = page_of(write_run(tmp_path / "run"))
    assert f"eval verification --model {tmp_path}/run/model --bin FILE --mistakes DIR" in text
    (tmp_path / "mistakes").mkdir()
    mistakes, _ = write_mistakes(tmp_path / "mistakes")
    assert "--mistakes DIR" not in page_of(mistakes)
    (tmp_path / "mistakes" / "scores.csv").unlink()
    assert "need <code>scores.csv</code>" in page_of(mistakes)


def test_several_runs_side_by_side(tmp_path):
    runs = [write_run(tmp_path / name, ["--seed", str(seed)]) for seed, name in enumerate("abc")]
    text = page_of(*runs)
    assert "<th><bdi>a</bdi></th><th><bdi>b</bdi></th><th><bdi>c</bdi></th>" in text
    charts = charts_of(text)
    assert [each["name"] for each in charts["Learning rate"]["data"]] == ["a", "b", "c"]
    assert len({each["line"]["color"] for each in charts["Learning rate"]["data"]}) == 3
    differing = text.partition("Keys that differ")[2].partition("Keys that are the same")[0]
    assert "<code>seed</code></td><td><bdi>0</bdi></td><td><bdi>1</bdi></td><td><bdi>2</bdi></td>" in differing
    assert differing.count("<code>") == 1


def test_evaluations_stand_beside_published_results(tmp_path):
    text = page_of(write(tmp_path / "e.json", [evaluation(), evaluation("b/model"), evaluation(data="own")]))
    assert "<h3>verification: <bdi>lfw</bdi></h3>" in text and "90.92 ± 1.05" in text
    assert "published: R50, Glint360K, r=0.1" in text and "99.82" in text
    assert "a/model</bdi>: the network gets (pixel - 127.5) * 0.0078125" in text
    chart = charts_of(text)["verification: lfw"]
    kinds = [f"{model}/model, mirror images: {added}" for model in "ab" for added in ("no", "added")]
    assert [each["name"] for each in chart["data"]] == kinds
    assert chart["data"][1]["x"] == [0.001, 0.01, 0.1] and chart["data"][1]["y"] == [0.606, 0.751, 0.9137]


def test_pairs_have_curve_histogram_and_galleries(tmp_path):
    folder, wrong = write_mistakes(tmp_path / "pairs", 2000)
    text = page_of(folder)
    charts = charts_of(text)
    curve, point = charts["ROC of all pairs; the points are the thresholds"]["data"]
    pairs = read_sources([folder]).pairs[0]
    accepted = pairs.scores > 0.4
    assert point["y"] == [pytest.approx(accepted[pairs.issame].mean())]
    assert point["x"] == [pytest.approx(accepted[~pairs.issame].mean())]
    assert curve["y"][-1] == 1 and sorted(curve["y"]) == curve["y"]
    histogram = charts[f"Scores: pairs, threshold {pairs.threshold:.4f}"]
    assert [round(sum(each["y"]), 4) for each in histogram["data"]] == [1, 1]
    assert histogram["layout"]["shapes"][0]["x0"] == pairs.threshold
    for same, first in ((False, wrong[False][-1]), (True, wrong[True][0])):
        assert f"<strong>{first:.4f}</strong>, threshold 0.4000" in text
        assert f"the 24 farthest from their thresholds of {len(wrong[same])}, among 2,000 pairs." in text
    assert text.count("<figure") == 48 and text.count('src="data:image/jpeg') == 96


def test_a_folder_of_all_images_is_named_once(tmp_path):
    text = page_of(write_mistakes(tmp_path / "pairs", 100, ("/d/faces/a/1.jpg", "/d/faces/b/2.jpg"))[0])
    assert "Images are in <bdi>/d/faces/</bdi>" in text and "<bdi>a/1.jpg</bdi>" in text and "faces/a" not in text


def test_a_set_without_mistakes(tmp_path):
    text = page_of(write_mistakes(tmp_path / "pairs", 10, threshold=0.45)[0])
    assert text.count("<figure") < 3 and "among 10 pairs" in text


def test_conflicts(tmp_path):
    text = page_of(write(tmp_path / "c.json", conflicts_of("ann")))
    assert "They form 1 cluster." in text
    assert "0.8123" in text and "<bdi>3 ann</bdi> (12 images), <bdi>7</bdi></td>" in text
    many = conflicts_of()
    many["clusters"] = many["clusters"] * 300
    text = page_of(write(tmp_path / "c.json", many))
    assert "300 clusters, of which the first 100 are shown" in text and text.count("0.8123") == 100


def test_contact_sheets(tmp_path):
    for number in range(14):
        cv2.imwrite(str(tmp_path / f"sheet-{number:04d}.png"), np.full((600, 2400, 3), 200, np.uint8))
    (tmp_path / "sheet-0000.png").write_bytes(b"damaged")
    cv2.imwrite(str(tmp_path / "sheet-0001.png"), np.full((2050, 1300, 3), 200, np.uint8))  # as large as they get
    text = page_of(tmp_path)
    assert "The first 12 of 14." in text and text.count('<img class="sheet" src="data:image/jpeg') == 11
    assert "<bdi>sheet-0011.png</bdi>" in text and "sheet-0012.png" not in text
    pictures = [
        base64.b64decode(each) for each in re.findall(r'class="sheet" src="data:image/jpeg;base64,(.*?)"', text)
    ]
    sizes = [cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR).shape[:2] for each in pictures]
    assert sizes == [(2050, 1300)] + 10 * [(400, 1600)]


def test_names_are_never_markup(tmp_path):
    evil = "<img src=x onerror=alert(1)>'\"&amp;"
    sets = {evil: measured()}
    evaluated = write(tmp_path / "e.json", [evaluation(evil, evil)])
    conflicts = write(tmp_path / "c.json", conflicts_of(evil))
    mistakes, _ = write_mistakes(tmp_path / "m", names=(evil, "a\x1b[31m\u202eb\n"))
    text = body_of(page_of(write_run(tmp_path / evil.replace("/", ""), sets=sets), evaluated, conflicts, mistakes))
    assert "<img src=x" not in text and str(escape(evil)) in text
    assert "a\\x1b[31m\\u202eb\\n" in text and "\x1b" not in text and "\u202e" not in text


def test_a_loss_that_is_not_finite_leaves_a_gap(tmp_path):
    write_run(tmp_path, updates=3)
    (tmp_path / "losses.csv").write_text("num_update,loss\n1,2\n2,nan\n3,1\n")
    assert charts_of(page_of(tmp_path))["Loss"]["data"][0]["y"] == [2, None, 1]


def test_no_address_of_the_network_is_in_the_page(tmp_path):
    text = body_of(page_of(write_run(tmp_path / "run"), write_mistakes(tmp_path / "pairs")[0]))
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", text)
    assert "default-src 'none'; img-src data: blob:" in text


@pytest.mark.parametrize("name", ["x" * 54, "a<b>&amp;", "日本語"])
def test_names_in_legends_are_literal(name):
    assert html.unescape(label(name)) == name and "<" not in label(name)


def test_long_names_in_legends_keep_both_ends():
    assert label("a" * 50 + "b" * 50) == "a" * 30 + "…" + "b" * 24
