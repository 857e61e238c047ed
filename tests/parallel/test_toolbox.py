"""Each key of the training toolbox on real ranks: a run that was cut off continues to the bit."""

import shutil

import pytest

from helpers.faces import write_faces
from helpers.ranks import mpirun, run, succeed
from helpers.runs import TOOLBOX, arrays_of_run, different, learning_rates, losses_of_run

SMALL = ["--set=val_targets=val", "--set=image_size=32", "--set=embedding_size=16", "--batch-size=8"]
SMALL += ["--sample-ratio=0.4", "--set=frequent=1", "--set=save_interval=5", "--set=verbose=3"]
SMALL += ["--set=keep_checkpoints=9", "--set=max_update=12"]
CUT = 5  # the update after which the run is cut off
KEYS = {
    "poly": "lr_schedule=poly lr_power=2 warmup_updates=3",
    "cosine": "lr_schedule=cosine warmup_updates=0.5e",
    "multistep in epochs": "lr_steps=0.5e,1e warmup_updates=2",
    "AdamW of the backbone": "optimizer=adamw backbone_lr=0.001",
    "AdamW of the centers": "center_optimizer=adamw memory_bank_lr=0.002",
    "clipping": "clip_gradient_norm=0.5",
    "freezing": "freeze=stage1.* lr_mult=pre_fc1.*:0.5 wd_mult=stage2.*:2",
    "frozen batch norm": "freeze_bn=true",
    "frozen centers": "freeze_centers=true",
    "decay": "bias_decay=false",
    "best model": "keep_best=val keep_best_centers=true",
    "margin": "loss_m1=0.9 loss_m2=0.3 loss_m3=0.2 margin_warmup=9",
    "AdaFace": "loss_m3=0 adaface_m=0.4 adaface_t_alpha=0.3",
    "sub-centers": "sub_centers=3",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data"))


def train(ranks, data, folder, *arguments):
    return succeed(run([*mpirun(ranks), *SMALL, f"--set=rec={data}", f"--models-root={folder}", *arguments]))


def cut_and_continued(ranks, data, folder, *arguments):
    """The folder of a run that nothing disturbs, and that of one that continues after the update CUT."""
    train(ranks, data, folder / "whole", *arguments)
    shutil.copytree(folder / "whole", folder / "cut")
    for path in (folder / "cut").glob("*/update-*"):
        if int(path.name[7:]) > CUT:
            shutil.rmtree(path)
    for path in (folder / "cut").glob("model-best-*"):  # checkpoints have it, too
        path.unlink()
    output = train(ranks, data, folder / "cut", "--resume=auto", *arguments)
    assert f"continuing from update {CUT}" in output
    return folder / "whole", folder / "cut", output


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    """A run without any of the keys."""
    folder = tmp_path_factory.mktemp("plain")
    train(2, data, folder)
    return folder


@pytest.mark.parametrize("name", KEYS)
def test_each_key_on_two_ranks(name, data, tmp_path, plain):
    whole, cut, _ = cut_and_continued(2, data, tmp_path, *(f"--set={each}" for each in KEYS[name].split()))
    assert different(whole, cut) == []
    assert different(whole, plain) != [], "the key changes nothing"


def test_all_keys_together_on_three_ranks(data, tmp_path):
    whole, cut, output = cut_and_continued(3, data, tmp_path, *TOOLBOX)
    assert different(whole, cut) == []
    assert len(losses_of_run(whole)) == 12 and any(name.startswith("best/") for name in arrays_of_run(cut))
    rates = learning_rates(output)
    assert list(rates) == list(range(CUT + 1, 13)) and len(set(rates.values())) == len(rates)
