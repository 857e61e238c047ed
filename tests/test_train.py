"""A whole run on one rank, without a launcher."""

import errno
import json
import os
import re
import shutil

import cv2
import mxnet as mx
import numpy as np
import pytest

from partial_fc import train as train_file
from partial_fc.checkpoint.center_files import load_centers
from partial_fc.checkpoint.checkpoints import _seal
from partial_fc.cli.summary import print_summary
from partial_fc.cli.train import main
from partial_fc.cli.train_arguments import from_command_line, read_command_line
from partial_fc.config import Run
from partial_fc.data import open as open_file
from partial_fc.data.augmentation import Augmentation
from partial_fc.data.batches import Batch, BatchReader
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.verification_set import save_verification_set
from partial_fc.distributed.communicator import Communicator
from partial_fc.distributed.lock import LOCK
from partial_fc.distributed.restarts import SERIES
from partial_fc.distributed.signals import SAVE, STOP, Signals
from partial_fc.errors import CollectiveError
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.training import start as start_file
from partial_fc.training.build import build
from partial_fc.training.module import FaceModule

from helpers.faces import face, write_faces
from helpers.updates import weight_decay

SMALL = "val_targets=val image_size=32 embedding_size=8 max_update=4 frequent=2 verbose=2 batch_size=8 num_workers=1"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    path = write_faces(folder, num_identities=6, images=6)
    (folder / "damaged.bin").write_bytes(b"xx")
    for name, image in (("garbage", b"no image"), ("large", encode_jpeg(face(0, 0, 64)))):
        save_verification_set(str(folder / f"{name}.bin"), [image] * 40, [True, False] * 10)
    save_verification_set(str(folder / "few.bin"), [encode_jpeg(face(0, 0))] * 8, [True] * 4)
    return path


def train(arguments):
    config, options = read_command_line(arguments)
    return train_file.train(config, Communicator(), options=options)


def run(data, folder, *assignments):
    arguments = [f"--set={each}" for each in (*SMALL.split(), f"rec={data}", *assignments)]
    config, options = read_command_line(["--models-root", str(folder), *arguments])
    print_summary(train_file.train(config, Communicator(), options=options), config)


def test_what_a_run_leaves_behind(data, tmp_path, capsys):
    run(data, tmp_path)
    printed = capsys.readouterr().out
    assert "36 images, 4 updates per epoch" in printed
    assert "ranks: 1, identities: 6, updates: 4 of 8 images each" in printed
    assert f"Trained demo on {os.path.basename(os.path.dirname(data))}, ranks: 1" in printed
    files = sorted(re.sub(r"^(events\.out\.tfevents)\..*", r"\1", name) for name in os.listdir(tmp_path))
    assert files == [
        "checkpoints",
        "config.toml",
        "curves.png",
        "events.out.tfevents",
        "losses.csv",
        "model-0000.params",
        "model-symbol.json",
        "summary.json",
        "train.log",
    ]
    height, width, _ = cv2.imread(str(tmp_path / "curves.png")).shape
    assert height == 680 and width == 800
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 5
    lines = (tmp_path / "train.log").read_text()
    assert "update 4/4" in lines
    assert [line.split()[3] for line in lines.splitlines() if "val: accuracy" in line] == ["0", "2", "4"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["updates"] == 4 and summary["num_classes"] == 6 and set(summary["verification"]) == {"val"}
    bank = MemoryBank(6, 8, Communicator())
    load_centers(str(tmp_path / "checkpoints" / "update-000000004"), bank)
    assert bank.weight_mom.asnumpy().any()


def test_published_files_are_removed_with_what_is_overwritten(data, tmp_path):
    names = {"model_average-symbol.json", "model_average-0000.params", "0_hist.log"}
    names |= {"0_centers.param", "0_centers_mom.param"}
    run(data, tmp_path, "published_files=true", "val_targets=")
    assert names <= set(os.listdir(tmp_path))
    assert "rank-id:0:" in (tmp_path / "0_hist.log").read_text()
    train(["--models-root", str(tmp_path), "--overwrite", *(f"--set={each}" for each in SMALL.split()), "--rec", data])
    assert not names & set(os.listdir(tmp_path))


def test_same_seed_same_losses(data, tmp_path):
    losses = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(data, tmp_path / name, f"seed={seed}", "val_targets=", "net_output=E")
        losses.append((tmp_path / name / "losses.csv").read_text())
    assert losses[0] == losses[1] != losses[2]


def test_seed_reaches_the_data(data, tmp_path, monkeypatch):
    seeds = []

    class Reader(BatchReader):
        def batches(self, position=0):
            seeds.append(self.seed)
            return super().batches(position)

    monkeypatch.setattr(open_file, "BatchReader", Reader)
    run(data, tmp_path, "seed=5", "val_targets=", "max_update=1")
    assert set(seeds) == {5}


@pytest.mark.parametrize(
    "name, message",
    [
        ("nothing", "no such verification set"),
        ("damaged", "not a readable verification set, a .bin"),
        ("garbage", "image 0: "),
        ("large", "image 0: 64x64"),
        ("few", "4 pairs"),
    ],
)
def test_verification_set_that_cannot_be_used_is_an_error_of_all_ranks(name, message, data, tmp_path):
    with pytest.raises(CollectiveError, match=rf"{name}\.bin.*{message}"):
        run(data, tmp_path, f"val_targets={name}")


def test_all_missing_verification_sets_are_named_at_once(data, tmp_path):
    message = r"data.*/nothing\.bin, .*/neither\.bin: .*faces_emore.*--set val_targets=few,val$"
    with pytest.raises(CollectiveError, match=message):
        run(data, tmp_path, "val_targets=few,nothing,val,neither")


def test_batch_of_one_image_is_refused_before_anything_is_made(data, tmp_path):
    with pytest.raises(CollectiveError, match=r"fc1 would see a single value .*--batch-size 2"):
        run(data, tmp_path / "run", "batch_size=1")
    assert not os.path.exists(tmp_path / "run")


@pytest.mark.parametrize("initializer, bias_decay, std", [("normal", "true", 0.1), ("xavier", "false", 0.5)])
def test_initial_weights_and_weight_decay_are_those_of_the_configuration(initializer, bias_decay, std):
    settings = (*SMALL.split(), "num_classes=6", f"initializer={initializer}", f"bias_decay={bias_decay}")

    def build_with(wd):
        config = from_command_line([f"--set={each}" for each in (*settings, f"wd={wd}")])
        return build(Run(config, "models", config.num_classes), Communicator(), mx.cpu())

    assert build_with(0.25).arg_params["pre_fc1_weight"].asnumpy().std() == pytest.approx(std, rel=0.05)
    images = np.stack([face(label, 0) for label in range(6)] + [face(0, 1), face(0, 2)])
    decay = weight_decay(build_with, Batch(images, np.array([0, 1, 2, 3, 4, 5, 0, 0]), np.arange(8)), 0.25)
    assert decay["stage1_conv_weight"] == pytest.approx(0.25, rel=1e-2)
    assert decay["pre_fc1_bias"] == pytest.approx(0.25 if bias_decay == "true" else 0.0, rel=1e-2, abs=1e-5)


def test_images_of_another_size_are_an_error_of_all_ranks(data, tmp_path):
    with pytest.raises(CollectiveError, match=r"train\.rec: record \d+: 32x32 pixels"):
        run(data, tmp_path, "val_targets=", "image_size=48")


def test_too_few_images_are_an_error_of_all_ranks(data, tmp_path):
    with pytest.raises(CollectiveError, match=r"train\.rec: 36 images do not fill a global batch of 1 x 37"):
        run(data, tmp_path, "batch_size=37")


def test_models_root_that_cannot_be_written_is_an_error_of_all_ranks(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CollectiveError, match="--models-root .*/file: .*/file is not a folder"):
        run(data, tmp_path / "file")


@pytest.mark.parametrize(
    "wrong",
    [
        "val_targets=nothing",
        "batch_size=37",
        "image_size=48",
        "embedding_size=100000000",
        "centers={0}/none",
        "resume={0}/none",
        "bank_dir={0}/bank pretrained={0}/other,0",
        "pretrained={0}/none,0",
        "pretrained={0}/other,0",
        "bank_dir={0}/other-0000.params",
    ],
)
def test_start_that_fails_leaves_nothing(wrong, data, tmp_path, monkeypatch):
    mx.nd.save(str(tmp_path / "other-0000.params"), {"arg:layer_weight": mx.nd.ones(3)})
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(CollectiveError):
        run(data, tmp_path / "new" / "root", *wrong.format(tmp_path).split())
    assert sorted(os.listdir(tmp_path)) == before


def test_start_that_fails_leaves_an_earlier_run_as_it_was(data, tmp_path):
    run(data, tmp_path / "root")
    before = {name: os.stat(tmp_path / "root" / name).st_mtime_ns for name in os.listdir(tmp_path / "root")}
    mx.nd.save(str(tmp_path / "other-0000.params"), {"arg:layer_weight": mx.nd.ones(3)})
    arguments = [f"--set={each}" for each in (*SMALL.split(), f"rec={data}", f"pretrained={tmp_path / 'other'},0")]
    with pytest.raises(CollectiveError, match="none of the weights"):
        train(["--models-root", str(tmp_path / "root"), "--overwrite", *arguments])
    assert {name: os.stat(tmp_path / "root" / name).st_mtime_ns for name in os.listdir(tmp_path / "root")} == before


def test_the_next_start_of_a_launch_does_not_continue_an_earlier_run(data, tmp_path, monkeypatch):
    """The first start has died before it could overwrite that run; the second does, and the third continues it."""
    arguments = ["--models-root", str(tmp_path / "root"), "--overwrite"]
    arguments += [f"--set={each}" for each in (*SMALL.split(), f"rec={data}", "save_interval=2")]
    train(arguments)
    monkeypatch.setenv(SERIES, "a launch")
    step = FaceModule.step

    def fail(self, images, choice, num_update, *rates):
        if num_update == 3:
            raise KeyboardInterrupt
        return step(self, images, choice, num_update, *rates)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FaceModule, "step", fail)
        train(arguments)
    assert os.listdir(tmp_path / "root" / "checkpoints") == ["update-000000002"]
    assert train(arguments)["continued_from"] == 2


@pytest.mark.parametrize("wrong", ["--resume", "--pretrained", "--centers", "--bank-dir", "--models-root"])
def test_wrong_paths_are_found_before_the_demo_is_drawn(wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARTIAL_FC_DATA", raising=False)
    monkeypatch.setattr(open_file, "make_demo", lambda *_: pytest.fail("drawn"))
    (tmp_path / "file").write_text("")
    with pytest.raises(CollectiveError, match=f"^{wrong} file"):
        train([wrong, "file"])
    assert os.listdir(tmp_path) == ["file"]


def test_noise_without_a_number_of_identities_is_an_error_of_all_ranks(tmp_path):
    arguments = ["--models-root", str(tmp_path / "root"), "--set=source=synthetic", "--set=val_targets="]
    with pytest.raises(CollectiveError, match="^num_classes=0: synthetic images list no identities: --set num_classes"):
        train(arguments)


def test_own_records_have_their_own_name(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train([f"--set={each}" for each in (*SMALL.split(), f"rec={data}")])
    name = os.path.basename(os.path.dirname(data))
    assert os.listdir(tmp_path / "models") == [f"{name}-demo-cosface"]
    assert json.loads((tmp_path / "models" / f"{name}-demo-cosface" / "summary.json").read_text())["dataset"] == name


def test_fine_tuning_starts_from_the_model(data, tmp_path, capsys):
    run(data, tmp_path / "first")
    run(data, tmp_path / "second", f"pretrained={tmp_path / 'first' / 'model'},0")
    first, second = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("first", "second"))
    assert second["accuracy_untrained"] == first["accuracy"] != first["accuracy_untrained"]
    assert second["first_loss"] != first["first_loss"]
    printed = capsys.readouterr().out
    assert "model-0000.params: 30 of the network's 30 parameters" in printed and "before training" in printed


def test_fine_tuning_from_nothing_is_an_error_of_all_ranks(data, tmp_path):
    with pytest.raises(CollectiveError, match=r"^--pretrained nowhere/model,3: no file nowhere/model-0003\.params"):
        run(data, tmp_path, "pretrained=nowhere/model,3")


def test_centers_of_all_ranks_are_compared_before_anything_is_made(data, tmp_path, monkeypatch):
    run(data, tmp_path / "first")
    centers = str(tmp_path / "first" / "checkpoints" / "update-000000004")

    def differ(folder, comm):
        assert folder == centers
        raise CollectiveError("others on rank 1")

    monkeypatch.setattr(start_file, "check_same_centers", differ)
    with pytest.raises(CollectiveError, match="others on rank 1"):
        run(data, tmp_path / "second", f"centers={centers}")
    assert not (tmp_path / "second").exists()


def test_record_zero_may_be_lost(data, tmp_path, capsys):
    damaged = shutil.copytree(os.path.dirname(data), tmp_path / "data") / "train.rec"
    os.truncate(damaged, damaged.stat().st_size - 4)
    with pytest.raises(CollectiveError, match=r"train\.rec: record 0 cannot be read: the file ends within it"):
        run(damaged, tmp_path / "run")
    with pytest.raises(CollectiveError, match="lists no identities: give their number"):
        run(damaged, tmp_path / "run", "on_bad_record=skip")
    run(damaged, tmp_path / "run", "on_bad_record=skip", "num_classes=6")
    printed = capsys.readouterr().out
    assert re.search(
        r"train\.rec: record 0 cannot .*: all records before the last readable one are taken for images", printed
    )
    assert "36 images" in printed and "Trained demo" in printed


def test_only_the_input(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_file.measure_input, "__defaults__", (0.1,))
    arguments = [f"--set={each}" for each in (*SMALL.split(), f"rec={data}")]
    train(["--models-root", str(tmp_path), "--io-only", *arguments])
    assert "input alone, " in capsys.readouterr().out
    assert not os.listdir(tmp_path)


def test_keys_of_the_data_reach_the_reader(data, tmp_path, monkeypatch):
    made = []

    class Reader(BatchReader):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            made.append(self)

    monkeypatch.setattr(open_file, "BatchReader", Reader)
    run(
        data,
        tmp_path,
        "last_batch=pad",
        "cutout=3",
        "flip=false",
        "jpeg_compression=0.25",
        "low_resolution=0.5",
        "color_jitter=0.125",
        "on_bad_record=skip",
        "bad_record_share=0.5",
        "num_classes=9",
    )
    (reader,) = made
    assert reader.updates_per_epoch == 5 and reader.num_classes == 9
    assert reader.augmentation == Augmentation(False, 0.125, 0.5, 0.25, 3)
    assert (reader.bad_records.skips, reader.bad_records._share) == (True, 0.5)


@pytest.mark.parametrize("name", ["", "checkpoints"])
def test_a_folder_that_somebody_removes_is_made_again(name, data, tmp_path, monkeypatch):
    step = FaceModule.step

    def removing(self, images, choice, num_update, *rates):
        if num_update == 2:
            shutil.rmtree(tmp_path / "root" / name)
        return step(self, images, choice, num_update, *rates)

    monkeypatch.setattr(FaceModule, "step", removing)
    run(data, tmp_path / "root", "save_interval=1")
    assert sorted(os.listdir(tmp_path / "root" / "checkpoints")) == ["update-000000003", "update-000000004"]
    there = {"model-0000.params", "model-symbol.json", "losses.csv", "summary.json", "curves.png"}
    assert there <= set(os.listdir(tmp_path / "root")) and LOCK not in os.listdir(tmp_path / "root")
    assert len((tmp_path / "root" / "losses.csv").read_text().splitlines()) == 5


def test_a_reader_on_a_broken_disk_is_no_wrong_input(data, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO), "train.rec")

    monkeypatch.setattr(BatchReader, "_read", broken)
    with pytest.raises(CollectiveError, match="Input/output error: 'train.rec'") as caught:
        run(data, tmp_path / "root")
    assert caught.value.status == 75


@pytest.mark.parametrize("cause, status", [(OSError(errno.ENOSPC, "No space left on device"), 75), (None, 143)])
def test_main_ends_with_the_status_of_the_cause(cause, status, data, tmp_path, monkeypatch, capsys):
    def save(*_):
        if cause:
            raise cause

    monkeypatch.setattr("partial_fc.distributed.collectives.connect", lambda **options: Communicator())
    monkeypatch.setattr("partial_fc.checkpoint.checkpoints._seal", save if cause else _seal)
    if not cause:
        monkeypatch.setattr(Signals, "take", lambda _: SAVE | STOP)
    arguments = [f"--set={each}" for each in (*SMALL.split(), f"rec={data}")]
    assert main(["--models-root", str(tmp_path / "root"), *arguments]) == status
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: update 4: cannot be saved: " if cause else "stopped: update 1: ended by a signal")
    assert LOCK not in os.listdir(tmp_path / "root")
