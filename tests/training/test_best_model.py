"""Runs that keep their best model, end early, or change their schedule, and continue as if they had not been cut."""

import json
import os
import shutil

import mxnet as mx
import numpy as np
import pytest

from partial_fc import train as train_file
from partial_fc.checkpoint.checkpoints import Checkpoints
from partial_fc.cli.train_arguments import from_command_line, read_command_line
from partial_fc.config import Run
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError, InputError
from partial_fc.training import best_model as best_model_file
from partial_fc.training import updates as updates_file
from partial_fc.training.best_model import BestModel, check_selection
from partial_fc.training.callbacks import Verification
from partial_fc.training.module import UpdateStats
from partial_fc.training.run_state import Kept, RunState

from helpers.faces import write_faces

SMALL = "val_targets=val image_size=32 embedding_size=8 max_update=9 frequent=2 verbose=1 batch_size=8 num_workers=1"
ACCURACIES = [0.5, 0.6, 0.8, 0.7, 0.85, 0.9, 0.85, 0.7, *20 * [0.6]]  # by update


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data"), num_identities=6, images=6)


@pytest.fixture
def accuracies(monkeypatch):
    """Verifications give ACCURACIES, whatever the model."""

    def measure(self, num_update):
        self._module.average_statistics()
        self.history.append((num_update, {"val": ACCURACIES[num_update]}))
        self.best["val"] = max(accuracies["val"] for _, accuracies in self.history), 0
        return self.history[-1][1]

    monkeypatch.setattr(Verification, "measure", measure)


def run(data, folder, *assignments):
    """The summary of a run, and what it has left that another run must equal."""
    arguments = [f"--set={each}" for each in (*SMALL.split(), f"rec={data}", *assignments)]
    config, options = read_command_line(["--models-root", str(folder), *arguments])
    summary = train_file.train(config, Communicator(), options=options)
    return summary, left(folder)


def left(folder):
    names = [name for name in os.listdir(folder) if name.endswith(".params")]
    models = {name: mx.nd.load(str(folder / name)) for name in names}
    arrays = {f"{name}:{key}": array.asnumpy() for name, model in models.items() for key, array in model.items()}
    return arrays, (folder / "losses.csv").read_text()


def assert_same(one, other):
    assert one[1] == other[1] and one[0].keys() == other[0].keys()
    for name, array in one[0].items():
        assert np.array_equal(array, other[0][name]), name


def model(arrays, prefix):
    return {name.split(".params:")[1]: array for name, array in arrays.items() if name.startswith(prefix)}


def test_the_best_model_is_that_of_its_update(data, tmp_path, accuracies):
    summary, (arrays, _) = run(data, tmp_path / "all", "keep_best=val", "keep_best_centers=true")
    of_five = run(data, tmp_path / "five", "max_update=5")[1][0]
    best, last = (model(arrays, f"model-{name}") for name in ("best", "0000"))
    assert all(np.array_equal(array, of_five["model-0000.params:" + name]) for name, array in best.items())
    assert any((array != last[name]).any() for name, array in best.items())
    symbol, _, _ = mx.model.load_checkpoint(str(tmp_path / "all" / "model-best"), 0)
    assert symbol.list_outputs() == ["fc1_output"]
    found = dict(of="val", update=5, accuracy=0.9, ended_training=False, model=str(tmp_path / "all" / "model-best"))
    assert summary["best_model"] == found
    assert os.listdir(tmp_path / "all" / "best") == ["update-000000005"]
    # A whole checkpoint of the best model: a run can continue from it.
    again = run(data, tmp_path / "again", f"resume={tmp_path / 'all' / 'best' / 'update-000000005'}", "max_update=9")[1]
    assert_same((model(again[0], "model-0000"), again[1].split()[-4:]), (last, left(tmp_path / "all")[1].split()[-4:]))


def test_nothing_is_kept_unless_asked(data, tmp_path, accuracies):
    summary, _ = run(data, tmp_path, "save_interval=1")
    assert "best_model" not in summary
    assert not [path for path in tmp_path.rglob("*best*")]


@pytest.mark.parametrize("cut", [1, 3, 4, 6])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_selection_and_patience_continue_exactly(cut, elsewhere, data, tmp_path, accuracies):
    keys = "keep_best=val", "patience=2", "lr_schedule=poly", "warmup_updates=3", "lr_power=2"
    whole, expected = run(data, tmp_path / "whole", *keys)
    assert whole["updates"] == 7 and whole["best_model"]["ended_training"]

    def interrupt(stats):
        if stats.num_update == cut:
            raise KeyboardInterrupt

    saver = updates_file.Saver
    root = tmp_path / "cut"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):

        class Cut(saver):
            def __call__(self, stats):
                super().__call__(stats)
                interrupt(stats)

        patch.setattr(updates_file, "Saver", Cut)
        run(data, root, *keys, "save_interval=1")
    if elsewhere:
        resume, root = f"resume={root / 'checkpoints' / f'update-{cut:09d}'}", tmp_path / "new"
    else:
        resume = "resume=auto"
    summary, found = run(data, root, *keys, resume)
    if elsewhere:  # losses.csv begins with this start
        found, expected = (found[0], ""), (expected[0], "")
    assert_same(found, expected)
    assert summary["updates"] == 7 and summary["continued_from"] == cut
    assert {key: value for key, value in summary["best_model"].items() if key != "model"} == {
        key: value for key, value in whole["best_model"].items() if key != "model"
    }


def test_model_and_centers_of_the_best_are_of_one_update(data, tmp_path, accuracies, capsys):
    keys = "keep_best=val", "keep_best_centers=true", "save_interval=1", "keep_checkpoints=9"
    run(data, tmp_path / "a", *keys)
    checkpoints, warning = tmp_path / "a" / "checkpoints", "best: lacks the centers of the best model so far, that of"
    assert os.listdir(tmp_path / "a" / "best") == ["update-000000005"]

    def cut(num_update):  # as a kill after that update leaves the run
        for number in range(num_update + 1, 10):
            shutil.rmtree(checkpoints / f"update-{number:09d}", ignore_errors=True)

    cut(6)
    capsys.readouterr()
    run(data, tmp_path / "a", *keys, "resume=auto", "max_update=6")
    assert os.listdir(tmp_path / "a" / "best") == ["update-000000005"] and warning not in capsys.readouterr().out
    # From before update 5, which was the best: up to the next one the best is that of update 4.
    cut(4)
    run(data, tmp_path / "a", *keys, "resume=auto", "max_update=4")
    assert not (tmp_path / "a" / "best").exists() and f"{warning} update 4" in capsys.readouterr().out
    run(data, tmp_path / "a", *keys, "resume=auto", "max_update=5")
    assert os.listdir(tmp_path / "a" / "best") == ["update-000000005"]
    # In a new models root, which has no centers.
    run(data, tmp_path / "b", *keys, f"resume={checkpoints / 'update-000000005'}", "max_update=5")
    assert not (tmp_path / "b" / "best").exists() and f"{warning} update 5" in capsys.readouterr().out


def test_a_run_that_patience_has_ended_stays_ended(data, tmp_path, accuracies, capsys):
    keys = "keep_best=val", "patience=2"
    _, before = run(data, tmp_path, *keys)
    summary, after = run(data, tmp_path, *keys, "resume=auto")
    assert summary["updates"] == 7 and "nothing is left to train: patience is 2" in capsys.readouterr().out
    assert_same(before, after)
    summary, _ = run(data, tmp_path, "keep_best=val", "patience=4", "resume=auto")
    assert summary["updates"] == 9 and summary["best_model"]["ended_training"]


def test_another_criterion_selects_anew(data, tmp_path, accuracies):
    run(data, tmp_path, "keep_best=val", "max_update=6")
    summary, _ = run(data, tmp_path, "keep_best=mean", "resume=auto")
    assert summary["best_model"]["of"] == "mean" and summary["best_model"]["update"] == 7


def test_old_checkpoints_are_read(data, tmp_path, accuracies, monkeypatch):
    """Those of versions that neither counted images nor kept a best model."""
    _, expected = run(data, tmp_path / "whole")
    to_json = RunState.to_json

    def old(self):
        return {key: value for key, value in to_json(self).items() if key not in ("done", "kept")}

    with monkeypatch.context() as patch:
        patch.setattr(RunState, "to_json", old)
        run(data, tmp_path / "old", "max_update=4")
    manifest = json.loads((tmp_path / "old/checkpoints/update-000000004/manifest.json").read_text())
    assert set(manifest["progress"]) == {"first", "last", "history", "best"}
    keys = f"resume={tmp_path / 'old/checkpoints/update-000000004'}", "batch_size=4", "lr_unit=images", "keep_best=val"
    assert run(data, tmp_path / "images", *keys)[0]["updates"] == 4 + 2 * 5
    assert_same(run(data, tmp_path / "old", "resume=auto")[1], expected)


@pytest.mark.parametrize("lr_unit, updates", [("images", 4 + 2 * 5), ("updates", 9)])
def test_half_a_batch_takes_twice_the_updates_if_images_count(lr_unit, updates, data, tmp_path, accuracies, capsys):
    keys = f"lr_unit={lr_unit}", "lr_schedule=poly", "frequent=1", "val_targets="
    run(data, tmp_path, *keys, "max_update=4")
    capsys.readouterr()
    summary, _ = run(data, tmp_path, *keys, "resume=auto", "batch_size=4")
    printed = capsys.readouterr().out
    assert summary["updates"] == updates
    counts = {"images": "the schedule counts images and stays in place", "updates": "--set lr_unit=images"}[lr_unit]
    assert f"images per update changed to 4 (was 8): the schedule {'' if lr_unit == 'images' else 'still '}" in printed
    assert counts in printed
    # Update 6 begins after 4 updates of 8 images and one of 4.
    rate = {"images": 0.1 * (1 - 4.5 / 9), "updates": 0.1 * (1 - 5 / 9)}[lr_unit]
    (line,) = (line for line in printed.splitlines() if f" update 6/{updates}  " in line)
    assert f"  lr {rate:g}  " in line
    # Both cut again: the images of all starts count.
    again, _ = run(data, tmp_path, *keys, "resume=auto", "batch_size=16", "max_update=21")
    assert again["updates"] == (updates + 6 if lr_unit == "images" else 21)


def test_a_config_file_repeats_a_run_bit_for_bit(data, tmp_path):
    keys = "keep_best=val", "lr_schedule=cosine", "warmup_updates=2", "max_epochs=2", "seed=3", "sample_ratio=0.5"
    _, expected = run(data, tmp_path / "first", *keys)
    config, options = read_command_line(
        ["--config", str(tmp_path / "first/config.toml"), "--models-root", str(tmp_path / "second")]
    )
    train_file.train(config, Communicator(), options=options)
    assert_same(left(tmp_path / "second"), expected)
    assert expected[1].splitlines()[-1].startswith("8,")  # two epochs of four updates


def test_log_has_dates_and_the_terminal_what_differs(data, tmp_path, capsys):
    run(data, tmp_path, "max_update=2")
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert all(line[:2] == "20" and line[4] == line[7] == "-" for line in lines if not line.startswith("  "))
    printed = capsys.readouterr().out
    assert "  batch_size     8 (preset: 64)" in printed and "loss_m2" not in printed
    assert f"--network demo --loss cosface; all keys: {tmp_path / 'config.toml'}" in printed


@pytest.mark.parametrize(
    "assignments, message",
    [
        ("patience=2", "patience: needs keep_best"),
        ("keep_best_centers=true", "keep_best_centers: needs keep_best"),
        ("keep_best=mean val_targets=", "keep_best=mean: there are no verification sets"),
        ("keep_best=lfw val_targets=a,b", "keep_best=lfw: must be one of mean, a, b"),
    ],
)
def test_what_cannot_be_selected_by_is_refused_at_the_start(assignments, message, data, tmp_path):
    with pytest.raises(InputError, match=message):
        check_selection(from_command_line([f"--set={each}" for each in assignments.split()]))
    with pytest.raises(CollectiveError, match=message):
        run(data, tmp_path / "root", *assignments.split())
    assert not (tmp_path / "root").exists()


class Module:
    """Has nothing to save."""

    aux_params, arg_params, symbol = {}, {}, mx.sym.Variable("data")


def best_of(tmp_path, *assignments):
    keys = ["val_targets=a,b", *assignments]
    config = from_command_line([f"--set={each}" for each in keys])
    return BestModel(Run(config, str(tmp_path), 7), Communicator(), Module())


def progress(num_update):
    return lambda: RunState(None, UpdateStats(num_update, 1.0, 1.0))


def test_the_mean_of_all_sets_and_the_first_of_equals(tmp_path):
    best = best_of(tmp_path, "keep_best=mean", "patience=2")
    for number, (a, b) in enumerate([(0.5, 0.75), (1.0, 0.5), (0.5, 1.0), (0.7, 0.7)], start=1):
        best.consider(dict(a=a, b=b), progress(number))
    assert best.kept == Kept("mean", 2, 0.75, 2) and best.ends


@pytest.mark.parametrize("policy", ["continue", "stop"])
def test_a_best_model_that_cannot_be_written(policy, tmp_path, monkeypatch, caplog):
    best = best_of(tmp_path, "keep_best=a", f"on_save_error={policy}", "patience=2")
    best.consider(dict(a=0.5, b=0.5), progress(1))
    best.consider(dict(a=0.4, b=0.5), progress(2))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(best_model_file, "save_model", full)
    if policy == "stop":
        with pytest.raises(CollectiveError, match="No space left"):
            best.consider(dict(a=0.6, b=0.5), progress(3))
    else:
        best.consider(dict(a=0.6, b=0.5), progress(3))
        assert "could not write the best model: " in caplog.text and "training continues" in caplog.text
    assert best.kept == Kept("a", 1, 0.5, 0)  # the file is still that of update 1, and patience begins anew


def test_centers_of_the_best_model_that_cannot_be_written(tmp_path, monkeypatch, caplog):
    best = best_of(tmp_path, "keep_best=a", "keep_best_centers=true")

    def full(*_):
        raise CollectiveError("rank 0: No space left on device")

    monkeypatch.setattr(best_model_file, "save_checkpoint", full)
    best.consider(dict(a=0.5, b=0.5), progress(1))
    assert "could not write the centers of the best model: " in caplog.text
    assert best.kept == Kept("a", 1, 0.5, 0)  # which the file holds


class OtherProcessor(Communicator):
    """Rank 0's accuracy is on the other side of a threshold."""

    def all_gather_object(self, value):
        return [0.5, value] if isinstance(value, float) else super().all_gather_object(value)


def test_rank_0_decides_which_model_is_the_best(tmp_path):
    best = best_of(tmp_path, "keep_best=a")
    best._comm = OtherProcessor()
    best.consider(dict(a=0.4999, b=0.5), progress(1))
    assert best.kept.accuracy == 0.5


def test_a_lost_best_model_is_selected_anew(data, tmp_path, accuracies, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", _removing(tmp_path, Checkpoints.save))
        run(data, tmp_path, "keep_best=val", "max_update=6")
    summary, _ = run(data, tmp_path, "keep_best=val", "resume=auto")
    assert "the selection of keep_best begins anew" in capsys.readouterr().out
    assert summary["best_model"]["update"] == 7


def _removing(folder, save):
    def without(self, *arguments):
        os.remove(folder / "model-best-0000.params")
        save(self, *arguments)

    return without
