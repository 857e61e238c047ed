"""The table of accuracies in two precisions, and the verdict."""

import json

import pytest

from benchmarks import precision
from benchmarks.training import CPU_PRECISIONS


def cases_of(task, float32, bfloat16):
    accuracies = zip(CPU_PRECISIONS, (float32, bfloat16))
    return [
        dict(task=task, precision=name, seed=seed, accuracy=value, images_per_second=100.0)
        for name, values in accuracies
        for seed, value in enumerate(values)
    ]


def test_table():
    cases = cases_of("a", [0.8, 0.82], [0.81, 0.82]) + cases_of("b", [0.5, 0.6], [0.5, 0.5])
    header, rows = precision.table(cases)
    assert header[2:6] == ["seed 0", "seed 1", "mean", "standard deviation"]
    assert rows[0] == ["a", "float32", "80.00%", "82.00%", "81.00%", "1.41%", "", "100"]
    assert rows[1] == ["a", "bfloat16", "81.00%", "82.00%", "81.50%", "0.71%", "+0.50 points", "100"]
    assert precision.differences(cases) == pytest.approx({"a": 0.5, "b": -5.0})


@pytest.mark.parametrize("low, status", [(0.804, 0), (0.806, 1), (0.794, 1)])
def test_means_that_are_far_apart_are_an_error(low, status, tmp_path, monkeypatch, capsys):
    for name in ("lfw-112x112.zip", "split.tsv"):
        (tmp_path / "faces").mkdir(exist_ok=True)
        (tmp_path / "faces" / name).touch()
    trained = []

    def train(name, folder, seeds):
        trained.append((name, folder.rstrip("/"), list(seeds)))
        return iter(cases_of(name, [0.79, 0.81], [low, low]))

    monkeypatch.setattr(precision, "_train", train)
    path = tmp_path / "p.json"
    arguments = ["--data", str(tmp_path), "--only", "LFW, r=1", "--seeds", "2", "--json", str(path)]
    assert precision.main(arguments) == status
    assert trained == [("LFW, r=1", str(tmp_path / "faces"), [0, 1])]
    assert len(json.loads(path.read_text())["cases"]) == 4
    assert ("more than 0.5 points apart" in capsys.readouterr().err) == bool(status)


def test_a_folder_without_the_files(tmp_path, capsys):
    with pytest.raises(SystemExit):
        precision.main(["--data", str(tmp_path)])
    assert "has lfw-112x112.zip and split.tsv" in capsys.readouterr().err
