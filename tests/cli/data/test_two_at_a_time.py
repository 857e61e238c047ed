"""A second program that writes to the same folder is refused, and changes nothing."""

import os

import numpy as np
import pytest

from partial_fc.cli.centers import main as centers
from partial_fc.cli.data import main as commands
from partial_fc.data.records.record_writer import write_records
from partial_fc.distributed.lock import LOCK, Lock

from helpers.glint360k import archive, split

COMMANDS = {
    "unpack": ["unpack", "source", "out"],
    "merge": ["merge", "source", "out", "--overwrite"],
    "split": ["split", "source", "rest", "out", "--share", "0.5", "--overwrite"],
    "shuffle": ["shuffle", "source", "out", "--overwrite"],
    "pack": ["pack", "faces", "out", "--size", "32", "--overwrite"],
    "glint360k": ["glint360k", "out"],
    "import": ["import", "centers.npy", "out"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("source", "faces/ann", "out"):
        os.makedirs(name)
    write_records("source/train.rec", [[b"a", b"bb"], [b"c"]])
    with open("source/property", "w") as file:
        file.write("2,32,32\n")
    np.save("centers.npy", np.ones((4, 8), np.float32))
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_program_is_refused(name, folder, capsys):
    if name == "glint360k":
        split(folder / "out", archive())
    before = sorted(os.listdir("out"))
    with Lock(os.path.join("out", LOCK)):
        assert (centers if name == "import" else commands.main)(COMMANDS[name]) == 2
        assert "out: another run is at work there: process" in capsys.readouterr().err
        assert sorted(os.listdir("out")) == sorted([LOCK, *before]) and LOCK not in os.listdir()
    assert sorted(os.listdir("out")) == before


@pytest.mark.parametrize("name", ["unpack", "merge", "shuffle", "import"])
def test_nothing_of_the_lock_is_left(name, folder):
    assert (centers if name == "import" else commands.main)(COMMANDS[name]) == 0
    assert os.listdir("out") and not [name for name in os.listdir("out") if name.startswith(".")]
