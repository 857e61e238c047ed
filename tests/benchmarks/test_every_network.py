"""The benchmark that trains every network, with the smallest."""

import json

from benchmarks import every_network


def test_trains_continues_and_evaluates(tmp_path, capfd):
    path = tmp_path / "cases.json"
    assert every_network.main(["--networks", "demo", "--runs", "1", "--json", str(path)]) == 0
    (case,) = json.loads(path.read_text())["cases"]
    assert (case["network"], case["precision"], case["problem"]) == ("demo", "float32", "")
    assert case["last_loss"] < case["first_loss"] and 0.4 < case["accuracy"] < 1
    assert "| demo | float32 | " in capfd.readouterr().out


def test_a_problem_is_the_exit_status(tmp_path, monkeypatch, capsys):
    figures = dict(first_loss=1.0, last_loss=2.0, accuracy=0.5, problem="the loss has not fallen")
    monkeypatch.setattr(every_network, "measure", lambda case, folder: figures)
    assert every_network.main(["--networks", "demo"]) == 1
    assert capsys.readouterr().out.count("the loss has not fallen") == 2
