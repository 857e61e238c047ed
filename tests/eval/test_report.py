import pytest

from partial_fc.eval.output import Result
from partial_fc.eval.published import PUBLISHED
from partial_fc.eval.report import report


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]


def test_published_results_stand_below_those_measured():
    own = Result("ifrt", "IFRT", "models/r50", {group: {"1e-6": 0.5} for group in ("African", "ALL")})
    header, _, measured, *published = rows(report([own]))
    assert header == ["model", "African 1e-6", "ALL 1e-6"] and measured == ["models/r50", "50.00", "50.00"]
    assert published[0] == ["published: R100, Glint360K, r=0.1", "90.45", "88.23"] and len(published) == 4


@pytest.mark.parametrize("data, published", [("IJBC", ["97.30", "96.40"]), ("IJBB", [])])
def test_published_results_are_of_the_same_data(data, published):
    own = Result("ijb", data, "m", {"tar": {"1e-4": 0.9, "1e-6": None}})
    assert [row[1] for row in rows(report([own]))[3:]] == published


def test_megaface():
    own = Result("megaface", "MegaFace", "m", {"rank1": 0.9, "tar": {"1e-6": 0.8}})
    assert [row[1:] for row in rows(report([own]))[2:]] == [["90.00", "80.00"], ["99.10", "99.10"], ["98.30", "98.60"]]


def test_a_table_for_each_data_set_and_pictures():
    results = [Result("verification", data, model, {"auc": 0.5}) for model in ("a|b", "c") for data in ("lfw", "cfp")]
    text = report(results, "/out", ["/out/roc.png", "/h.png"])
    assert [line for line in text.splitlines() if line[:2] == "##"] == ["## verification: lfw", "## verification: cfp"]
    assert text.count("| a\\|b | 50.00 |") == 2 and "![roc.png](roc.png)" in text and "![h.png](../h.png)" in text


def test_published_figures_are_shares():
    assert all(0 < value < 1 for each in PUBLISHED for value in each.figures.values())
