import json

import numpy as np
import pytest

from partial_fc.checkpoint.checkpoints import MANIFEST, manifest_checksum
from partial_fc.errors import InputError
from partial_fc.report.runs import is_run, read_run

from helpers.report import SUMMARY, measured, write_run


def test_a_finished_run_is_described_by_its_summary(tmp_path):
    run = read_run(write_run(tmp_path, ["--loss", "arcface"]))
    assert run.finished and {name: run.about[name] for name in SUMMARY} == SUMMARY
    assert run.about["verification"] == {"demo": measured()}
    assert run.settings["loss"] == "arcface" and run.settings["max_update"] == 800
    assert len(run.updates) == 800 and run.losses[-1] == pytest.approx(5.025)
    assert run.scalars["images_per_second"].values[-1] == 3800.0
    assert run.skipped == ["skipped: faces/train.rec: record 7: not an image"]


def test_an_unfinished_run_is_described_by_its_files(tmp_path):
    run = read_run(write_run(tmp_path, finished=False, updates=300))
    assert not run.finished and run.about["updates"] == 300
    assert (run.about["first_loss"], run.about["last_loss"]) == (25, pytest.approx(5 + 20 / 300))
    assert run.about["images_per_second"] == 3175.0  # the median of the log's
    assert (run.about["dataset"], run.about["loss"], run.about["sample_ratio"]) == ("demo", "cosface", 0.25)
    reached = run.about["verification"]["demo"]
    assert reached == pytest.approx(dict(accuracy_untrained=0.63, accuracy=0.948, accuracy_best=0.948, best_update=300))


def test_a_run_that_has_only_begun(tmp_path):
    (tmp_path / "losses.csv").write_text("num_update,loss\n")
    run = read_run(str(tmp_path))
    assert not run.finished and run.about["verification"] == {} and "updates" not in run.about


def test_the_first_of_equally_good_verifications_is_the_best(tmp_path):
    sets = {"a": measured(untrained=0.9, last=0.9)}
    assert read_run(write_run(tmp_path, finished=False, sets=sets)).about["verification"]["a"]["best_update"] == 0


def test_a_last_line_that_is_not_complete_is_no_loss(tmp_path):
    write_run(tmp_path, finished=False, updates=3)
    with open(tmp_path / "losses.csv", "a") as file:
        file.write("4,1")
    assert read_run(str(tmp_path)).updates.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("summary.json", "{", "not JSON"),
        ("summary.json", "[]", "not the summary of a run"),
        ("summary.json", '{"verification": {"a": 1}}', "1 is not in the summary of a run"),
        ("summary.json", '{"files": "model"}', "not the summary of a run"),
        ("summary.json", '{"updates": [1]}', "is not in the summary of a run"),
        ("summary.json", '{"verification": {"a": {"accuracy": {}}}}', "is not in the summary of a run"),
        ("summary.json", '{"train_seconds": 1e999}', "not JSON: 1e999 is not a finite number"),
        ("summary.json", '{"train_seconds": 1e18}', r"train_seconds: 1e\+18 is not a number of a run"),
        ("summary.json", '{"num_classes": "many"}', "num_classes: 'many' is not a number of a run"),
        ("config.toml", "a = ", "Invalid value"),
        ("losses.csv", "num_update,loss\nx,1\n", "not the losses of a run"),
        ("losses.csv", "num_update,loss\n1,1,1\n", "not the losses of a run"),
        ("losses.csv", "num_update,loss\n99999999999999999999,1\n", "not the losses of a run"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content, message):
    write_run(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_run(str(tmp_path))
    assert str(error.value).startswith(str(tmp_path / name))


def test_ranks_and_versions_are_those_of_the_newest_checkpoint(tmp_path, monkeypatch):
    write_run(tmp_path, finished=False)
    manifest = dict(world_size=3, precision="bfloat16", versions={"mxnet": "1.9.1"}, configuration={"num_classes": 77})
    newest = ("there", manifest)
    monkeypatch.setattr("partial_fc.report.runs.Checkpoints.newest", lambda self, needs: newest)
    run = read_run(str(tmp_path))
    assert (run.about["ranks"], run.about["precision"], run.versions) == (3, "bfloat16", {"mxnet": "1.9.1"})


def test_a_checkpoint_whose_manifest_is_not_of_a_run_is_left_out(tmp_path, caplog):
    """Its checksum is right, which anyone can make."""
    write_run(tmp_path, finished=False)
    content = dict(num_update=5, world_size=3, files={}, configuration=[], versions=["1.9.1"])
    sealed = dict(content, format=1, checksum=manifest_checksum(content))
    (tmp_path / "checkpoints" / "update-000000005").mkdir(parents=True)
    (tmp_path / "checkpoints" / "update-000000005" / MANIFEST).write_text(json.dumps(sealed))
    run = read_run(str(tmp_path))
    assert run.versions == {} and run.about["ranks"] is None
    assert "its manifest has no configuration" in caplog.text


def test_what_is_a_run(tmp_path):
    assert not is_run(str(tmp_path)) and not is_run(str(tmp_path / "none"))
    (tmp_path / "summary.json").write_text(json.dumps({}))
    assert is_run(str(tmp_path))


def test_losses_are_numbers(tmp_path):
    run = read_run(write_run(tmp_path, updates=5))
    assert run.updates.dtype == np.int64 and run.losses.dtype == np.float64
