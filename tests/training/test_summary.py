import json
import os
import shlex
from types import SimpleNamespace

import pytest

from partial_fc.cli.summary import print_summary
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run, dataset_name
from partial_fc.training import best_model
from partial_fc.training import summary as summary_file
from partial_fc.training.best_model import BestModel
from partial_fc.training.module import UpdateStats
from partial_fc.training.run_state import Kept
from partial_fc.training.summary import leave_results

FILES = dict(model="there/model", checkpoints="there/checkpoints", log="there/train.log", curves="there/curves.png")
FILES["config"] = "there/config.toml"


@pytest.fixture
def run(tmp_path):
    config = from_command_line(["--sample-ratio", "0.25", "--set", "val_targets=a,b"])
    return Run(config, str(tmp_path), num_classes=77)


@pytest.fixture(autouse=True)
def other_files(monkeypatch, tmp_path_factory):
    """A folder with a model. Curves have tests of their own."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    os.mkdir("there")
    open("there/model-0000.params", "w").close()
    monkeypatch.setattr(summary_file, "draw_curves", lambda *_: None)
    monkeypatch.setattr(summary_file, "run_files", lambda _: FILES)
    monkeypatch.setattr(best_model, "run_files", lambda _: {"best": "there/model-best"})


def results_of(run, world_size, losses, pixels, verification, kept=None):
    losses.path, losses.continued_from = "losses.csv", 0
    best = BestModel(run, None, None)
    best.kept = kept
    return leave_results(run, world_size, lambda update: (0.1, 0.1), losses, pixels, verification, best, "bfloat16", 4)


def summary_of(run, kept=None, **last):
    losses = SimpleNamespace(
        first=UpdateStats(1, 31.25, 2.0), last=UpdateStats(100, 1.5, 21.8049, **last), images_per_second=1234.56
    )
    verification = SimpleNamespace(
        history=[(0, {"a": 0.5, "b": 0.6}), (50, {"a": 0.97, "b": 0.7}), (100, {"a": 0.95, "b": 0.9})],
        best={"a": (0.97, 50), "b": (0.9, 100)},
    )
    return results_of(run, 3, losses, {"a": 0.66, "b": 0.61}, verification, kept)


def test_file_holds_what_is_returned(run, tmp_path):
    summary = summary_of(run)
    text = (tmp_path / "summary.json").read_text()
    assert json.loads(text) == summary and text.endswith("}\n")
    assert os.listdir(tmp_path) == ["summary.json"]
    assert summary == dict(
        dataset="demo",
        network="demo",
        loss="cosface",
        sample_ratio=0.25,
        seed=0,
        num_classes=77,
        embedding_size=128,
        image_size=48,
        ranks=3,
        precision="bfloat16",
        updates=100,
        continued_from=0,
        first_loss=31.25,
        last_loss=1.5,
        loss_scale=None,
        skipped_updates=None,
        train_seconds=21.8,
        images_per_second=1234.6,
        skipped_records=4,
        accuracy_pixels=0.66,
        accuracy_untrained=0.5,
        accuracy=0.95,
        accuracy_best=0.97,
        best_update=50,
        verification={
            "a": dict(accuracy_pixels=0.66, accuracy_untrained=0.5, accuracy=0.95, accuracy_best=0.97, best_update=50),
            "b": dict(accuracy_pixels=0.61, accuracy_untrained=0.6, accuracy=0.9, accuracy_best=0.9, best_update=100),
        },
        files=FILES,
    )


def test_loss_scale_and_skipped_updates_are_in_the_summary(run):
    summary = summary_of(run, loss_scale=dict(scale=4096.0, skipped=3, since=7))
    assert (summary["loss_scale"], summary["skipped_updates"]) == (4096.0, 3)


def test_failed_write_leaves_the_old_summary(run, tmp_path, monkeypatch):
    summary_of(run)
    old = (tmp_path / "summary.json").read_text()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(json, "dump", fail)
    with pytest.raises(OSError, match="disk full"):
        summary_of(run)
    assert (tmp_path / "summary.json").read_text() == old and os.listdir(tmp_path) == ["summary.json"]


def test_printed_for_people(run, capsys):
    print_summary(summary_of(run), run.config)
    printed = capsys.readouterr().out
    for line in (
        "Trained demo on demo, ranks: 3",
        "  100 updates in 22 s, 1235 images/s; loss 31.25 -> 1.50",
        "  accuracy on a: raw pixels 66.0%, before training 50.0%, after 95.0% (best 97.0% at update 50)",
        "  accuracy on b: raw pixels 61.0%, before training 60.0%, after 90.0% (best 90.0% at update 100)",
        "  model    there/model-symbol.json, there/model-0000.params",
        "  centers  in the checkpoints, there/checkpoints/",
        "  log      there/train.log, or: tensorboard --logdir there",
        "  curves   there/curves.png",
        "  all keys there/config.toml",
        "Try next:",
    ):
        assert line in printed.splitlines()


def test_the_best_model_and_the_rate_of_this_start_are_named(tmp_path, capsys):
    config = from_command_line(["--set", "val_targets=a,b", "--set", "keep_best=mean", "--set", "patience=2"])
    summary = summary_of(Run(config, str(tmp_path), 77), Kept("mean", 50, 0.835, 2))
    found = dict(of="mean", update=50, accuracy=0.835, model="there/model-best", ended_training=True)
    assert summary["best_model"] == found
    print_summary(dict(summary, continued_from=40), config)
    lines = capsys.readouterr().out.splitlines()
    assert "  100 updates in 22 s, 1235 images/s since update 40; loss 31.25 -> 1.50" in lines
    files = "there/model-best-symbol.json, there/model-best-0000.params"
    assert f"  best     {files}: update 50, 83.5% by mean; patience ended training" in lines


def try_next(arguments, capsys, ranks=1):
    """Commands that the summary of a run names, as lists of words."""
    config = from_command_line(arguments)
    numbers = dict(dict.fromkeys(NUMBERS, 1), ranks=ranks)
    print_summary(dict(numbers, network="", dataset="", verification={}, files=FILES), config)
    lines = capsys.readouterr().out.split("Try next:\n")[1].splitlines()
    assert all(line.startswith("      # ") for line in lines[1::2])
    return [shlex.split(line) for line in lines[0::2]]


def test_a_run_with_nothing_left_to_train_names_no_model(run, capsys):
    """Continued in another folder, it writes none there."""
    os.remove("there/model-0000.params")
    summary = summary_of(run)
    assert set(summary["files"]) == set(FILES) - {"model"}
    print_summary(summary, from_command_line(OWN))
    printed = capsys.readouterr().out
    assert "  model    not written, since nothing was left to train" in printed.splitlines()
    assert "there/model" not in printed and "there/checkpoints" not in printed and "--sample-ratio 0.1" in printed


NUMBERS = ("updates", "continued_from", "train_seconds", "images_per_second", "first_loss", "last_loss")
OWN = ["--rec", "my own/faces/train.rec", "--network", "r18", "--loss", "arcface", "--batch-size", "8"]
OWN += ["--set", "val_targets=others", "--set", "lr_steps=10,20"]


NOISE = ["--set", "source=synthetic", "--set", "num_classes=50", "--set", "val_targets="]
OTHER_DEMO = ["--rec", "other/train.rec", "--set", "source=demo"]


@pytest.mark.parametrize(
    "arguments", [[], OWN, ["--dataset", "emore"], ["--dataset", "100w", "--sample-ratio", "0.1"], NOISE, OTHER_DEMO]
)
def test_what_to_try_next_are_commands_of_this_run(arguments, tmp_path, capsys):
    of_this_start = ["--models-root", str(tmp_path), "--resume", "auto", "--overwrite"]
    before = from_command_line(arguments)
    commands = [words for words in try_next([*arguments, *of_this_start], capsys) if words[:2] == ["bash", "run.sh"]]
    configs = [from_command_line(words[3:]) for words in commands]
    before_values = before.to_dict()
    changes = [{key: value for key, value in each.to_dict().items() if value != before_values[key]} for each in configs]
    assert {"pretrained": "there/model,0"} in changes
    assert ({"sample_ratio": 0.1} in changes) == (before.sample_ratio == 1)
    other = {"arcface": "cosface", "cosface": "arcface"}[before.loss]
    assert [set(change) for change in changes if change.get("loss") == other] == [{"loss", "loss_m2", "loss_m3"}]
    assert any(change.get("source") == "records" for change in changes) == (before.source == "demo")


def test_the_demo_names_a_schedule_for_faces_of_ones_own(capsys):
    (words,) = [words for words in try_next([], capsys) if "PATH/train.rec" in words]
    config = from_command_line(words[3:])
    assert (config.max_epochs, config.lr_steps, config.num_classes, config.source) == (32, ("20e", "28e"), 0, "records")
    assert (config.loss_s, config.wd, config.embedding_size, config.image_size) == (64.0, 5e-4, 512, 112)


def test_commands_are_for_as_many_ranks(capsys):
    for words in try_next([], capsys, ranks=3):
        assert words[:5] == ["bash", "run.sh", "-np", "3", "--"]


def test_own_sets_are_to_be_evaluated(capsys):
    commands = try_next(OWN, capsys)
    assert commands[-1][:3] == ["partial-fc", "eval", "verification"]
    assert commands[-1][3:] == ["--model", "there/model", "--bin", "my own/faces/others.bin"]


def test_own_records_have_the_name_of_their_folder(tmp_path):
    for path, name in (("my own/faces/train.rec", "faces"), ("other/asia.rec", "asia"), ("x/y/train.rec", "y")):
        config = from_command_line(["--rec", path, "--set", "val_targets="])
        assert dataset_name(config) == name == summary_of(Run(config, str(tmp_path), 77))["dataset"]
    assert dataset_name(from_command_line(["--dataset", "emore", "--rec", "elsewhere/train.rec"])) == "elsewhere"
    assert dataset_name(from_command_line(["--dataset", "emore"])) == "emore"
    assert dataset_name(from_command_line(["--dataset", "100w"])) == "100w"
    assert dataset_name(from_command_line(["--set", "source=synthetic"])) == "synthetic"


def test_without_verification_sets(tmp_path, capsys):
    run = Run(from_command_line(["--set", "val_targets="]), str(tmp_path), num_classes=77)
    losses = SimpleNamespace(first=UpdateStats(1, 2.0, 1.0), last=UpdateStats(1, 2.0, 1.0), images_per_second=0.0)
    summary = results_of(run, 1, losses, {}, SimpleNamespace(history=[(0, {}), (1, {})], best={}))
    assert summary["accuracy"] is None and summary["verification"] == {}
    print_summary(summary, run.config)
    assert "accuracy" not in capsys.readouterr().out
