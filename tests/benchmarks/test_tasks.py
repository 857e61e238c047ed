"""Trainings that are compared: what is trained, what a file already has, and the table."""

import contextlib
import json
import os

import pytest

from benchmarks import learning, tasks
from benchmarks.tasks import Variant
from partial_fc.cli.train_arguments import from_command_line

FIGURES = dict(accuracy_untrained=0.6, accuracy_pixels=0.6, images_per_second=100.0, ranks=2, sample_ratio=1.0)
VARIANTS = [Variant("plain"), Variant("other", loss="arcface", settings=["wd=0.1"])]


def case(task, variant, seed, accuracy, seconds=20.0):
    return dict(FIGURES, task=task, variant=variant, seed=seed, accuracy=accuracy, train_seconds=seconds)


@pytest.fixture
def data(tmp_path):
    """A folder in which others have the files of all tasks."""
    for name in ("faces", "characters"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for task, folder in (("LFW, r=1", "faces"), ("Omniglot, r=1", "characters")):
        for file in tasks.TASKS[task].files:
            (tmp_path / "data" / folder / file).touch()
    return tmp_path / "data"


@pytest.fixture
def trained(monkeypatch):
    """Folders of data that were extracted, and arguments of the trainings, whose accuracy grows with their number."""
    found = []

    def train(records, models_root, settings, sample_ratio, seed, **kind):
        found.append((settings[-1], sample_ratio, seed, kind["loss"], kind["precision"]))
        return dict(FIGURES, accuracy=0.8 + len(found) / 1000, train_seconds=5.0)

    def extract(data, folder):
        found.append(data.rstrip("/"))
        os.mkdir(folder)

    for name, task in list(tasks.TASKS.items()):
        monkeypatch.setitem(tasks.TASKS, name, task._replace(extract=extract))
    monkeypatch.setattr(tasks, "pack", lambda *_: "records")
    monkeypatch.setattr(tasks, "train", train)
    return found


def run(data, path, seeds=2, variants=VARIANTS):
    arguments = tasks.parser("x", "", ["a"], "NAME")
    args = arguments.parse_args(["--data", str(data), "--seeds", str(seeds), "--json", str(path)])
    return tasks.compare(args, ["LFW, r=1", "Omniglot, r=1"], variants, arguments)


def test_all_variants_of_all_tasks_with_all_seeds(data, trained, tmp_path):
    cases = run(data, tmp_path / "c.json")
    own = "verbose=1150", "frequent=200"  # the last of each task
    expected = []
    for folder, last in zip(("faces", "characters"), own):
        expected.append(str(data / folder))
        for seed in (0, 1):
            expected += [(last, 1.0, seed, "cosface", "float32"), ("wd=0.1", 1.0, seed, "arcface", "float32")]
    assert trained == expected
    assert [(each["task"], each["variant"], each["seed"]) for each in cases[:4]] == [
        ("LFW, r=1", name, seed) for seed in (0, 1) for name in ("plain", "other")
    ]
    assert json.loads((tmp_path / "c.json").read_text())["cases"] == cases and len(cases) == 8


def test_a_file_grows_and_what_it_has_is_not_repeated(data, trained, tmp_path):
    path, whole = tmp_path / "c.json", run(data, tmp_path / "whole.json")
    first = whole[:3]
    path.write_text(json.dumps(dict(machine={}, cases=first)))
    del trained[:]
    cases = run(data, path)
    assert [each for each in trained if isinstance(each, tuple)][0] == ("wd=0.1", 1.0, 1, "arcface", "float32")
    assert len([each for each in trained if isinstance(each, tuple)]) == 5
    assert cases[:3] == first and [each["seed"] for each in cases] == [each["seed"] for each in whole]
    del trained[:]
    assert run(data, path) == cases and trained == []
    changed = [VARIANTS[0], VARIANTS[1]._replace(settings=["wd=0.2"])]
    run(data, path, variants=changed)
    assert [each[0] for each in trained if isinstance(each, tuple)] == ["wd=0.2"] * 4
    assert len(json.loads(path.read_text())["cases"]) == 12


def test_a_command_that_is_cut_leaves_what_it_has(data, trained, tmp_path, monkeypatch):
    train, path = tasks.train, tmp_path / "c.json"

    def cut(*arguments, **kind):
        if len(trained) == 3:
            raise KeyboardInterrupt
        return train(*arguments, **kind)

    monkeypatch.setattr(tasks, "train", cut)
    with contextlib.suppress(KeyboardInterrupt):
        run(data, path)
    assert len(json.loads(path.read_text())["cases"]) == 2


def test_table():
    cases = [case("a", "x", 0, 0.8), case("a", "y", 0, 0.81, 30.0), case("a", "x", 1, 0.82), case("a", "y", 1, 0.82)]
    cases += [case("b", "x", 0, 0.5), case("b", "y", 0, 0.49), case("b", "x", 1, 0.6), case("b", "y", 1, 0.51)]
    header, rows = tasks.table(cases, "kind")
    assert header[:6] == ["task", "kind", "seed 0", "seed 1", "mean", "standard deviation"]
    assert header[6:] == ["points above the first", "training s", "images/s"]
    assert rows[0] == ["a", "x", "80.00%", "82.00%", "81.00%", "1.41%", "", "20", "100"]
    assert rows[1] == ["a", "y", "81.00%", "82.00%", "81.50%", "0.71%", "+0.50", "25", "100"]
    assert tasks.differences(cases) == {"a": {"y": pytest.approx(0.5)}, "b": {"y": pytest.approx(-5.0)}}
    assert tasks.table(cases[:1], "kind")[1][0][3:5] == ["80.00%", "nan%"]


def test_a_folder_without_the_files(tmp_path, capsys):
    with pytest.raises(SystemExit):
        learning.main(["--data", str(tmp_path)])
    assert "has lfw-112x112.zip and split.tsv" in capsys.readouterr().err


@pytest.mark.parametrize("name", learning.VARIANTS)
def test_the_settings_of_the_learning_table_are_those_of_a_run(name):
    """The preset of the margin and the settings go together."""
    variant = learning.VARIANTS[name]
    for task in learning.TASKS:
        settings = [f"--set={each}" for each in (*tasks.TASKS[task].settings, *variant.settings)]
        config = from_command_line(["--loss", variant.loss, *settings])
        assert config.loss_s == 32 and config.sample_ratio == 1
        assert (config.adaface_m > 0) == (name == "AdaFace") and (config.sub_centers == 3) == (name == "sub-centers")


def test_learning_prints_the_chosen_ones(data, trained, capsys):
    assert learning.main(["--data", str(data), "--only", "ArcFace", "CosFace", "--seeds", "1"]) == 0
    rows = [line.split(" | ")[1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == ["CosFace", "ArcFace"] * 2
