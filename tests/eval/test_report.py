import numpy as np
import pytest

from partial_fc.eval.output import Result
from partial_fc.eval.protocols.ijb import ijb_result
from partial_fc.eval.protocols.ijb_lists import TemplatePairs
from partial_fc.eval.protocols.published import PUBLISHED
from partial_fc.eval.report import report


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]


def ifrt(model, groups, *shares):
    figures = {group: {"tar": {"1e-6": share}, "pairs": {"same": 1200}} for group, share in zip(groups, shares)}
    return Result("ifrt", "IFRT", model, {}, groups=figures)


def test_groups_are_rows_and_published_results_stand_below_those_measured():
    header, _, *lines = rows(report([ifrt("a", ("African", "ALL"), 0.5, 0.4), ifrt("b", ("African", "ALL"), 0.6, 0.3)]))
    assert header == ["Model", "Group", "TAR at FAR 1e-6", "Pairs of the same person"]
    assert lines[:3] == [
        ["a", "African", "50.00", "1,200"],
        ["b", "African", "60.00", "1,200"],
        ["published: R100, Glint360K, r=0.1", "African", "90.45", "-"],
    ]
    assert [line[1] for line in lines][:12] == ["African"] * 6 + ["ALL"] * 6 and lines[8][2] == "88.23"
    assert lines[12] == ["published: R100, Glint360K, r=0.1", "Caucasian", "94.60", "-"] and len(lines) == 2 * 2 + 5 * 4


@pytest.mark.parametrize("data, published", [("IJBC", ["97.30", "96.40"]), ("IJBB", [])])
def test_published_results_are_of_the_same_data(data, published):
    assert [row[2] for row in rows(report([ijb_of("unit", data)]))[3:]] == published


def ijb_of(embeddings, data="IJBC"):
    pairs = TemplatePairs(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([True, False, True]))
    settings = {"mean": 127.5, "scale": 0.0078125, "scaling": "given", "embeddings": embeddings}
    result = ijb_result(np.float32([1, 0.5, 0.9]), pairs, data, "m", settings)
    return result._replace(groups={name: {"tar": {"1e-4": 0.9}} for name in result.groups})


@pytest.mark.parametrize("embeddings, words", [("unit", "normalized"), ("raw", "as they are")])
def test_how_embeddings_are_added_stands_beside_published_results(embeddings, words):
    text = report([ijb_of(embeddings)])
    assert rows(text)[0] == ["Model", "Embeddings are added", "TAR at FAR 1e-4"]
    assert [row[1] for row in rows(text)[2:]] == [words, "normalized", "normalized"]
    assert "- m: the network gets (pixel - 127.5) * 0.0078125, as mean and scale say" in text


def test_verification_is_for_people():
    plain = {
        "pairs": 6000,
        "accuracy": 0.8905,
        "accuracy_std": 0.0117,
        "auc": 0.9,
        "threshold": 1.523,
        "tar": {"1e-3": 0.25, "1e-6": None},
    }
    added = {**plain, "accuracy": 0.9, "auc": 0.95}
    own = Result("verification", "lfw", "m", {}, groups={"no": plain, "added": added})
    lines = rows(report([own]))
    assert lines[:4:2] == [
        ["Model", "Mirror images", "Pairs", "Accuracy", "AUC", "Threshold", "TAR at FAR 1e-3"],
        ["m", "no", "6,000", "89.05 ± 1.17", "90.00", "1.523", "25.00"],
    ]
    assert lines[3][1:5] == ["added", "6,000", "90.00 ± 1.17", "95.00"]
    assert lines[4] == ["published: R50, Glint360K, r=0.1", "added", "-", "99.82", "-", "-", "-"]


def test_verification_sets_of_ones_own_have_no_published_results():
    own = Result("verification", "heldout", "m", {}, groups={"no": {"accuracy": 0.8}, "added": {"accuracy": 0.9}})
    assert [row[0] for row in rows(report([own]))[2:]] == ["m", "m"]


def test_megaface():
    own = Result("megaface", "MegaFace", "m", {"rank1": 0.9, "tar": {"1e-6": 0.8}})
    assert [row[1:] for row in rows(report([own]))[2:]] == [["90.00", "80.00"], ["99.10", "99.10"], ["98.30", "98.60"]]


def test_a_table_for_each_data_set_and_pictures():
    results = [Result("verification", data, model, {"auc": 0.5}) for model in ("a|b", "c") for data in ("own", "cfp")]
    text = report(results, "/out", ["/out/roc.png", "/h.png"])
    assert [line for line in text.splitlines() if line[:2] == "##"] == ["## verification: own", "## verification: cfp"]
    assert text.count("| a\\|b | 50.00 |") == 2 and "![roc.png](roc.png)" in text and "![h.png](../h.png)" in text


def test_published_figures_are_shares():
    assert all(0 < value < 1 for each in PUBLISHED for value in each.figures.values())
