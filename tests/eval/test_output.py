import argparse
import csv
import json
import os

import numpy as np
import pytest

from partial_fc.cli.eval import arguments
from partial_fc.cli.eval.results import write_results
from partial_fc.eval import output
from partial_fc.eval.output import Result, results_csv, results_json, table
from partial_fc.eval.report import report
from partial_fc.eval.roc import Curve, Histogram

FIGURES = {"pairs": 20, "accuracy": 0.98765, "threshold": 1.598, "tar": {"1e-1": 0.5, "1e-6": None}}


def result(model="m", data="lfw", **figures):
    curve = Curve(np.array([0.001, 0.01, 1]), np.array([0.2, 0.5, 1]))
    histogram = Histogram(np.linspace(-1, 1, 5), np.array([0, 1, 2, 3]), np.array([3, 2, 1, 0]))
    return Result("verification", data, model, {**FIGURES, **figures}, {"": curve}, {"": histogram})


def parsed(*argv):
    parser = argparse.ArgumentParser()
    arguments.add_output(parser)
    return parser.parse_args([str(each) for each in argv])


def test_json_is_an_object_or_a_list():
    one = json.loads(results_json([result()]))
    assert one == {"protocol": "verification", "data": "lfw", "model": "m", **FIGURES}
    assert json.loads(results_json([result(), result("n")])) == [one, {**one, "model": "n"}]


def test_json_never_holds_what_is_not_finite():
    with pytest.raises(ValueError, match="not JSON compliant"):
        results_json([result(accuracy=float("nan"))])


def test_csv_has_a_row_for_each_result_and_all_columns():
    rows = list(csv.DictReader(results_csv([result(), result("n,1", rank1=0.25)]).splitlines()))
    expected = dict(protocol="verification", data="lfw", model="m", pairs="20", accuracy="0.98765", threshold="1.598")
    assert rows[0] == {**expected, "tar 1e-1": "0.5", "tar 1e-6": "", "rank1": ""}
    assert rows[1]["model"] == "n,1" and rows[1]["rank1"] == "0.25"


def test_table_is_in_percent_and_aligned(monkeypatch):
    monkeypatch.setattr(output, "get_terminal_size", lambda: os.terminal_size((100, 24)))
    assert table([result(), result("model,12", accuracy=1.0)]).splitlines() == [
        "data  model     pairs  accuracy  threshold  tar 1e-1  tar 1e-6",
        "lfw   m            20     98.77      1.598     50.00         -",
        "lfw   model,12     20    100.00      1.598     50.00         -",
    ]


def test_table_that_is_too_wide_stands_upright(monkeypatch):
    monkeypatch.setattr(output, "get_terminal_size", lambda: os.terminal_size((40, 24)))
    lines = table([result(), result("model,12")]).splitlines()
    assert lines[0] == "data         lfw       lfw" and lines[3] == "accuracy   98.77     98.77" and len(lines) == 7


def test_an_interval_stands_beside_its_figure():
    """In table and report; JSON and CSV have both ends."""
    own = result(tar={"1e-1": 0.5, "1e-2": None}, tar_interval={"1e-1": {"low": 0.25, "high": 0.75}})
    own.figures["tar_interval"]["1e-2"] = {"low": None, "high": None}
    lines = dict(line.split(maxsplit=1) if "tar" not in line else (line[:8], line[8:].strip()) for line in upright(own))
    assert lines["tar 1e-1"] == "50.00 (25.00-75.00)" and lines["tar 1e-2"] == "-" and "tar_inte" not in lines
    (row,) = csv.DictReader(results_csv([own]).splitlines())
    assert (row["tar_interval 1e-1 low"], row["tar_interval 1e-1 high"]) == ("0.25", "0.75")
    assert row["tar_interval 1e-2 low"] == ""
    assert json.loads(results_json([own]))["tar_interval"]["1e-1"] == {"low": 0.25, "high": 0.75}
    assert "| 50.00 (25.00-75.00) |" in report([own._replace(groups={})])


def upright(own):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "get_terminal_size", lambda: os.terminal_size((10, 24)))
        return table([own]).splitlines()


def test_all_files_are_written(tmp_path, capsys):
    names = ("json", "csv", "roc", "histogram", "report")
    args = parsed(*(argument for name in names for argument in (f"--{name}", tmp_path / name)))
    write_results([result(), result("n")], args)
    assert capsys.readouterr().out.startswith("data")
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert json.loads((tmp_path / "json").read_text())[1]["model"] == "n"
    assert (tmp_path / "csv").read_text() == results_csv([result(), result("n")])
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("roc", "histogram"))
    assert "![roc](roc)" in (tmp_path / "report").read_text()


def test_json_takes_the_place_of_the_table(capsys):
    write_results([result()], parsed("--json"))
    assert json.loads(capsys.readouterr().out)["accuracy"] == 0.98765
