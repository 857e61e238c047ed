"""The commands `centers ...` in README and docs run as they are printed, in a folder with files of these names."""

import os
import re
import shutil

import mxnet as mx
import numpy as np
import pytest
from safetensors.numpy import save_file

from partial_fc.checkpoint.center_files import CenterFiles, save_centers
from partial_fc.cli.centers import main
from partial_fc.head.optimizer import CenterSGD

from helpers.centers import EMBEDDING_SIZE, banks, save
from helpers.documents import lines_of
from helpers.faces import write_faces
from helpers.features import write_features

CLASSES, PUBLISHED = 90, 85742
RUNS = {"models/faces": 10000, "models/faces-r50-cosface": 32000}
SUB_CENTERS = 3


def sub_centers(folder):
    """Centers of a run with sub-centers, for `dominant`."""
    rows = np.random.RandomState(1).randn(2, CLASSES, SUB_CENTERS * EMBEDDING_SIZE).astype(np.float32)
    (bank,) = banks(1, num_classes=CLASSES, embedding_size=rows.shape[-1], states=CenterSGD.states)
    bank.set(0, *rows)
    save_centers(str(folder), bank, 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Centers of a run and in the forms of other systems, the data that they were trained on, and lists."""
    folder = tmp_path_factory.mktemp("centers")
    for name in ("CHECKPOINT", *(f"{root}/checkpoints/update-{update:09d}" for root, update in RUNS.items())):
        (folder / name).mkdir(parents=True)
        weight, momentum = save(folder / name, 2, CLASSES)
    np.save(folder / "centers.npy", weight)
    np.save(folder / "centers_mom.npy", momentum)
    (folder / "OLD").mkdir()
    for rank in range(8):
        for name in ("centers", "centers_mom"):
            rows = mx.nd.ones((-(-PUBLISHED // 8), EMBEDDING_SIZE))
            mx.nd.save(str(folder / "OLD" / f"{rank}_{name}.param"), rows)
    (folder / "FOLDER").mkdir()
    save_file({"weight": weight}, str(folder / "FOLDER" / "softmax_fc_gpu_0.safetensors"))
    (folder / "data" / "faces").mkdir(parents=True)
    write_faces(folder / "data" / "faces", CLASSES, 2)
    write_features(folder / "features.npy", folder / "data" / "faces", lambda key, label: weight[label] + key / 1000)
    write_lists(folder)
    return folder


def write_lists(folder):
    """Names of the people before and after, labels of theirs, and what `conflicts --apply` writes."""
    for name, people in (("old", range(CLASSES)), ("new", range(10, CLASSES + 20))):
        (folder / "data" / name).mkdir()
        (folder / "data" / name / "identities.txt").write_text("".join(f"person {number}\n" for number in people))
    (folder / "FILE").write_text("".join(f"{new}\t{new + 10}\n" for new in range(CLASSES - 10)))
    (folder / "different.txt").write_text("3 41\n")
    assert main(["conflicts", str(folder / "CHECKPOINT"), "--apply", str(folder / "conflicts")]) == 0


def classes_expected(line, folder):
    """Number of classes of the centers that a line writes."""
    if " map " not in line:
        return PUBLISHED if " OLD " in line else CLASSES
    if "--names" in line:
        return CLASSES + 10
    path = re.search(r"--labels (\S+)", line)[1]
    return len({text.split()[0] for text in (folder / path).read_text().splitlines()})


@pytest.mark.parametrize("line", lines_of("centers"))
def test_it_runs_as_printed(line, files, tmp_path, monkeypatch, capsys):
    here = shutil.copytree(files, tmp_path / "here")
    monkeypatch.chdir(here)
    _, _, command, *arguments = line.split()
    if command == "dominant":
        shutil.rmtree(arguments[0])
        os.mkdir(arguments[0])
        sub_centers(here / arguments[0])
    if "--apply" in arguments and "--overwrite" not in arguments:
        shutil.rmtree("conflicts")
    classes = classes_expected(line, here)
    assert main([command, *(str(classes) if each == "N" else each for each in arguments)]) == 0
    if command == "conflicts":
        assert f"of {CLASSES} classes" in capsys.readouterr().out
        assert all(os.listdir(option) for option in re.findall(r"--(?:pictures|apply) (\S+)", line))
    elif command == "export":
        files_written = [name for name in os.listdir("OUT") if name[0] != "."]
        assert len(files_written) == {"--ranks": 2 * 8, "--numpy": 2, "--arcface-torch": 8}[arguments[2]]
    else:
        assert CenterFiles("data/centers").num_classes == classes
