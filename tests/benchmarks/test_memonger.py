"""The table of memory and time with and without memonger, with a small network."""

import json

from benchmarks import memonger, networks


def test_table_and_figures(monkeypatch, tmp_path, capsys):
    for module in (memonger, networks):
        monkeypatch.setattr(module, "SIZE", 32)
    monkeypatch.setattr(memonger, "in_own_process", lambda function, *arguments: function(*arguments))
    path = str(tmp_path / "memonger.json")
    assert memonger.main(["--networks", "r18", "--batch-size", "4", "--runs", "1", "--json", path]) == 0
    with open(path) as file:
        without, with_it = json.load(file)["cases"]
    assert (without["memonger"], with_it["memonger"]) == (False, True)
    assert without["parameters"] == with_it["parameters"]
    assert 0 < with_it["planned"] < without["planned"] and min(without["seconds"], with_it["seconds"]) > 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| r18 |")]
    assert row.endswith("| yes |")


def test_parameters_that_differ_are_seen(capsys):
    case = dict(network="r18", precision="float32", batch_size=4, planned=2**31, measured=2**30, seconds=1.0)
    memonger.print_rows([dict(case, parameters=1), dict(case, parameters=2, seconds=1.5, planned=2**30)])
    assert "| r18 | float32 | 4 | 2.00, 1.00 | 1.00, 1.00 | 1.00, 1.50 | 1.50 | no |" in capsys.readouterr().out
