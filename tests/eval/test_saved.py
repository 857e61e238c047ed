import json

import numpy as np
import pytest

from partial_fc.cli.eval.main import main
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.verification_set import save_verification_set
from partial_fc.errors import InputError
from partial_fc.eval.output import Result, results_json
from partial_fc.eval.protocols.ifrt import ifrt_result
from partial_fc.eval.protocols.ijb import ijb_result
from partial_fc.eval.protocols.ijb_lists import TemplatePairs
from partial_fc.eval.report import report
from partial_fc.eval.roc import ScoreCounts
from partial_fc.eval.saved import result_from

from helpers.faces import face
from helpers.models import write_linear_model
from helpers.report import evaluation

SETTINGS = {"mean": 127.5, "scale": 0.0078125, "scaling": "given"}


def read_back(result):
    return result_from(json.loads(results_json([result])), "r.json")


def ijb(tmp_path):
    pairs = TemplatePairs(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([True, False, True]))
    return ijb_result(np.float32([1, 0.5, 0.9]), pairs, "IJBC", "m", {**SETTINGS, "embeddings": "raw"})


def ifrt(tmp_path):
    both = [ScoreCounts.of(np.float32([0.8, 0.9])), ScoreCounts.of(np.float32([0.1, 0.2, 0.85] * 10))]
    return ifrt_result({"African": both, "ALL": both}, "m", SETTINGS)


def megaface(tmp_path):
    return Result("megaface", "MegaFace", "m", {"rank1": 0.9, "tar": {"1e-6": 0.8}})


@pytest.mark.parametrize("result_of", [ijb, ifrt, megaface])
def test_a_result_comes_back_with_the_rows_of_its_report(result_of, tmp_path):
    """But for curves and histograms, which are not in the JSON."""
    result = result_of(tmp_path)
    back = read_back(result)
    assert back == result._replace(curves={}, histograms={})
    assert [list(each) for each in back.groups.values()] == [list(each) for each in result.groups.values()]


def test_the_json_of_verification_makes_the_report_of_its_command(tmp_path):
    write_linear_model(tmp_path / "m", 32)
    images = [encode_jpeg(face(0, number, 32)) for number in range(60)]
    save_verification_set(tmp_path / "lfw.bin", images, np.arange(30) < 14)
    names = {kind: str(tmp_path / f"out.{kind}") for kind in ("json", "report")}
    written = [word for kind, path in names.items() for word in (f"--{kind}", path)]
    assert main(["verification", "--model", str(tmp_path / "m"), "--bin", str(tmp_path / "lfw.bin"), *written]) == 0
    value, expected = (open(path, encoding="utf-8").read() for path in names.values())
    assert report([result_from(json.loads(value), "r.json")]) == expected
    assert "| added | 30 |" in expected and "published: " in expected


@pytest.mark.parametrize(
    "value, message",
    [
        ([], "not what"),
        ({"protocol": "ijb"}, "not what"),
        (evaluation(model=3), "not what"),
        (evaluation(tar=[1]), "'tar' is not a figure"),
        (evaluation(a={"b": {"c": {"d": {"e": 1}}}}), "'d' is not a figure"),
        (evaluation(tar=0.5), "tar is 0.5"),
        (evaluation(tar={"often": 0.5}), "tar is"),
        (evaluation(tar={"1e-3": "all"}), "tar is"),
        (evaluation(tar={"1e-3": 7}), "tar is"),
        (evaluation(settings=3), "settings is 3"),
        (evaluation(settings={"mean": "x"}), "settings: mean is 'x'"),
        (evaluation(settings={"mean": 0}), "settings: scale is None"),
    ],
)
def test_what_is_not_the_json_of_an_evaluation_is_an_error(value, message):
    with pytest.raises(InputError, match=f"^r.json: {message}"):
        result_from(value, "r.json")


@pytest.mark.parametrize("name", ["", " ", " tar", "tar ", "a  b"])
def test_a_figure_may_have_any_name(name):
    """The report shows it, whatever a program of others has called it."""
    result = result_from({"protocol": "x", "data": "d", "model": "m", name: 0.125, "n": {name: 3}}, "r.json")
    assert "12.50" in report([result]) and "| 3 |" in report([result])


def test_figures_of_another_version_are_kept():
    assert result_from(evaluation(new=1.5), "r.json").figures["new"] == 1.5
