"""Wrong paths are found before anything is read or computed, and named by the option."""

import itertools
import os
import re

import numpy as np
import pytest

from partial_fc.cli.eval.main import main
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.verification_set import save_verification_set
from partial_fc.eval import embedding
from partial_fc.eval.embedding import Embedder
from partial_fc.eval.protocols import pair_sets

from helpers.cases import for_each
from helpers.faces import face
from helpers.models import write_linear_model

SIZE = 16
MEGAFACE = ["megaface", "--probe-list", "file", "--distractor-list", "file", "--model", "m"]
COMMANDS = {
    "verification": ["verification", "--bin", "val.bin", "--model", "m"],
    "ijb": ["ijb", "folder", "--dataset", "IJBC", "--model", "m"],
    "ifrt": ["ifrt", "--images", "folder", "--model", "m"],
    "megaface": [*MEGAFACE, "--probe-images", "folder", "--distractor-images", "folder"],
    "embed": ["embed", "f.npy", "--images", "folder", "--model", "m"],
    "pair": ["pair", "file", "file", "--model", "m"],
    "identify": ["identify", "file", "--gallery", "folder", "--model", "m"],
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a model, a verification set, a file and a folder, and where nothing may be read or computed."""
    write_linear_model(tmp_path / "m", SIZE)
    save_verification_set(tmp_path / "val.bin", [encode_jpeg(face(0, n, SIZE)) for n in range(40)], np.arange(20) < 9)
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def failure(capsys, *arguments):
    assert main([*map(str, arguments)]) == 2
    return capsys.readouterr().err.splitlines()[-1]


INPUTS = [
    ("verification", ["--bin", "nope"], "--bin nope: no such file"),
    ("verification", ["--bin", "folder"], "--bin folder: is a folder, not a file"),
    ("verification", ["--pairs", "nope", "--images", "folder"], "--pairs nope: no such file"),
    ("verification", ["--pairs", "file", "--images", "nope"], "--images nope: no such folder"),
    ("verification", ["--pairs", "file", "--images", "file"], "--images file: is a file, not a folder"),
    ("ifrt", ["--list", "nope"], "--list nope: no such file"),
    ("ifrt", ["--features", "nope"], "--features nope: no such file"),
    ("ifrt", ["--images", "nope"], "--images nope: no such folder"),
    ("ijb", ["--features", "folder"], "--features folder: is a folder, not a file"),
    ("megaface", ["--probe-noises", "nope"], "--probe-noises nope: no such file"),
    ("megaface", ["--distractor-list", "folder"], "--distractor-list folder: is a folder, not a file"),
    ("megaface", ["--distractor-images", "nope"], "--distractor-images nope: no such folder"),
    (
        "megaface",
        ["--probe-features", "nope", "--distractor-features", "folder", "--ending", "x"],
        "--probe-features nope: no such folder",
    ),
    ("embed", ["--images", "nope"], "--images nope: no such folder"),
    ("embed", ["--list", "nope"], "--list nope: no such file"),
    ("pair", ["--landmarks", "nope"], "--landmarks nope: no such file"),
    ("pair", ["--calibrate", "folder"], "--calibrate folder: is a folder, not a file"),
    ("identify", ["--gallery", "nope"], "--gallery nope: no such folder"),
    ("identify", ["--gallery", "file"], "--gallery file: is a file, not a folder"),
]
OUTPUTS = [
    (command, ["--keep", "file"], "--keep file: .*/file is not a folder that can be written to")
    for command in ("ifrt", "ijb", "megaface")
] + [("megaface", ["--write-features", "file/x", "--ending", "x"], "--write-features file/x: .*/file is not a folder")]
OUTPUTS += [
    ("verification", ["--mistakes", "file/x"], "--mistakes file/x: .*/file is not a folder"),
    ("verification", ["--mistakes", "no/x.csv"], "--mistakes no/x.csv: the folder .*/no does not exist or cannot"),
    ("pair", ["--json", "no/x"], "--json no/x: the folder .*/no does not exist or cannot"),
]
MODELS = [(command, ["--model", "nope"], "--model nope: no file nope-symbol.json") for command in COMMANDS]


@pytest.mark.parametrize("command, wrong, message", INPUTS + OUTPUTS + MODELS, ids=str)
def test_wrong_paths_are_found_first(capsys, monkeypatch, command, wrong, message):
    for module, name in ((pair_sets, "load_verification_set"), (embedding, "load_model"), (Embedder, "embed")):
        monkeypatch.setattr(module, name, None)
    before = sorted(os.listdir())
    assert re.match(f"error: {message}", failure(capsys, *COMMANDS[command], *wrong))
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"embed", "pair", "identify"}))
@for_each(
    "option, path", itertools.product(("json", "csv", "roc", "histogram", "report"), ("folder", "no/file", "file/x"))
)
def test_outputs_that_cannot_be_written_are_found_first(capsys, monkeypatch, command, option, path):
    problem = "is a folder, not a file" if path == "folder" else "the folder .* does not exist or cannot be written to"
    message = f"--{option} {path}: {problem}"
    test_wrong_paths_are_found_first(capsys, monkeypatch, command, [f"--{option}", path], message)


def test_rec_and_folder(capsys):
    assert failure(capsys, "embed", "f.npy", "--rec", "nope", "--model", "m") == (
        "error: --rec nope: no such file or folder"
    )
    reported = failure(capsys, "ijb", "nope", "--dataset", "IJBC", "--model", "m")
    assert reported == "error: FOLDER nope: no such folder"


def write_images(folder):
    for number in range(6):
        (folder / f"{number % 2}" / "x").mkdir(parents=True, exist_ok=True)
        (folder / f"{number % 2}" / "x" / f"{number}.jpg").write_bytes(encode_jpeg(face(0, number, SIZE)))


def test_keep_makes_its_folder(here):
    write_images(here / "faces")
    assert main(["ifrt", "--images", "faces", "--model", "m", "--keep", "kept/of/ifrt"]) == 0
    assert [name[:5] for name in sorted(os.listdir("kept/of/ifrt"))] == ["IFRT-"] * 3


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda: open("n-0000.params", "r+b").truncate(100), "n-0000.params: "),
        (lambda: open("n-symbol.json", "w").write("{}"), "n-symbol.json: not a symbol of MXNet"),
        (lambda: write_linear_model("n", 20), "--model n: its parameter fc1_weight has shape"),
    ],
)
def test_all_models_are_opened_before_the_first_computes(here, capsys, monkeypatch, damage, message):
    write_linear_model(here / "n", SIZE)
    write_images(here / "faces")
    damage()
    monkeypatch.setattr(Embedder, "embed", None)
    for command in (COMMANDS["verification"], ["ifrt", "--images", "faces", "--model", "m", "--keep", "kept"]):
        assert message in failure(capsys, *command, "--model", "n")
    assert not os.path.exists("kept")
