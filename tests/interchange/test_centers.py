"""Class centers in the files of arcface_torch, by its rule: rank r has N // S rows, and one more if r < N % S."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from partial_fc.checkpoint import center_files
from partial_fc.checkpoint.center_files import CenterFiles
from partial_fc.cli.centers import main
from partial_fc.head.optimizer import CenterAdamW, CenterSGD
from partial_fc.interchange.centers import export_arcface_torch, import_arcface_torch

from helpers.centers import EMBEDDING_SIZE, NUM_CLASSES, save


def theirs(folder, sizes, form="safetensors", more=None):
    """Files with as many rows; returns all rows."""
    folder.mkdir()
    weight = np.random.RandomState(0).randn(sum(sizes), 6).astype(np.float32)
    for rank, rows in enumerate(np.split(weight, np.cumsum(sizes)[:-1])):
        path = str(folder / f"softmax_fc_gpu_{rank}.{form}")
        if form == "npy":
            np.save(path, rows)
        elif form == "pt":
            pytest.importorskip("torch").save({"weight": __import__("torch").from_numpy(rows.copy())}, path)
        else:
            save_file({"weight": np.ascontiguousarray(rows), **(more or {})}, path)
    return weight


def read(folder):
    files = CenterFiles(str(folder))
    return files.take(np.arange(files.num_classes))


@pytest.mark.parametrize("form", ["safetensors", "npy", "pt"])
@pytest.mark.parametrize("sizes", [[31], [11, 10, 10], [8, 8, 8, 7], [1, 1], [3, 3, 2, 2]])
def test_files_of_arcface_torch(form, sizes, tmp_path, monkeypatch):
    monkeypatch.setattr(center_files, "_BLOCK_BYTES", 4 * 6 * 4)  # four rows
    expected = theirs(tmp_path / "old", sizes, form)
    assert main(["import", str(tmp_path / "old"), str(tmp_path / "centers")]) == 0
    weight, weight_mom = read(tmp_path / "centers")
    assert np.array_equal(weight, expected) and not weight_mom.any()
    command = ["export", str(tmp_path / "centers"), str(tmp_path / "new"), "--arcface-torch", str(len(sizes))]
    assert main([*command, "--form", form]) == 0
    names = [f"softmax_fc_gpu_{rank}.{form}" for rank in range(len(sizes))]
    assert sorted(names) == sorted(each.name for each in (tmp_path / "new").iterdir() if each.name[0] != ".")
    for name in names:
        old, new = (rows_of(str(tmp_path / folder / name), form) for folder in ("old", "new"))
        assert new.dtype == np.float32 and np.array_equal(old, new)


def rows_of(path, form):
    if form == "npy":
        return np.load(path)
    if form == "pt":
        return __import__("torch").load(path, weights_only=True)["weight"].numpy()
    (name,) = load_file(path)
    assert name == "weight"
    return load_file(path)[name]


@pytest.mark.parametrize("states", [CenterSGD.states, CenterAdamW.states])
def test_of_several_ranks_of_ours(states, tmp_path):
    (tmp_path / "own").mkdir()
    weight, *_ = save(tmp_path / "own", 3, states=states)
    export_arcface_torch(str(tmp_path / "own"), str(tmp_path / "new"), 4, "npy")
    parts = [np.load(tmp_path / "new" / f"softmax_fc_gpu_{rank}.npy") for rank in range(4)]
    assert [len(part) for part in parts] == [NUM_CLASSES // 4 + (rank < NUM_CLASSES % 4) for rank in range(4)]
    assert np.array_equal(np.concatenate(parts), weight) and parts[0].shape[1] == EMBEDDING_SIZE


def test_half_precision_becomes_single(tmp_path):
    (tmp_path / "old").mkdir()
    weight = np.random.RandomState(0).randn(5, 6).astype(np.float16)
    save_file({"weight": weight}, str(tmp_path / "old" / "softmax_fc_gpu_0.safetensors"))
    import_arcface_torch(str(tmp_path / "old"), str(tmp_path / "out"))
    assert np.array_equal(read(tmp_path / "out")[0], weight.astype(np.float32))


def test_another_number_of_classes_than_the_rows_is_an_error(tmp_path, capsys):
    theirs(tmp_path / "old", [3, 2])
    assert main(["import", str(tmp_path / "old"), str(tmp_path / "out"), "--num-classes", "6"]) == 2
    assert f"error: {tmp_path}/old: has 5 classes, not 6" in capsys.readouterr().err


def test_the_ending_of_files_is_that_of_arcface_torch_alone(tmp_path, capsys):
    assert main(["export", str(tmp_path), str(tmp_path / "out"), "--numpy", "--form", "npy"]) == 2
    assert "error: --form npy: only with --arcface-torch" in capsys.readouterr().err


def test_a_whole_checkpoint_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    weight = torch.randn(7, 6)
    part = dict(state_dict_softmax_fc={"weight": weight}, state_dict_backbone={"x": weight}, epoch=3)
    torch.save(part, str(tmp_path / "checkpoint_gpu_0.pt"))
    import_arcface_torch(str(tmp_path), str(tmp_path / "out"))
    assert np.array_equal(read(tmp_path / "out")[0], weight.numpy())


def missing(folder):
    (folder / "softmax_fc_gpu_1.safetensors").unlink()


def twice(folder):
    np.save(folder / "softmax_fc_gpu_1.npy", np.ones((8, 6), np.float32))


def rewritten(**arrays):
    return lambda folder: save_file(arrays, str(folder / "softmax_fc_gpu_1.safetensors"))


def in_bfloat16(folder):
    header = json.dumps({"weight": {"dtype": "BF16", "shape": [8, 6], "data_offsets": [0, 96]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(96)
    (folder / "softmax_fc_gpu_1.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    "harm, message",
    [
        (missing, r"ranks \[0, 2, 3\], expected 0, 1, 2"),
        (twice, "softmax_fc_gpu_1.npy and softmax_fc_gpu_1.safetensors are of one rank"),
        (rewritten(other=np.ones((8, 6), np.float32)), "_1.safetensors: has no array weight, the name"),
        (rewritten(weight=np.ones((8, 6), np.int64)), "_1.safetensors: weight is I64 of shape"),
        (in_bfloat16, "_1.safetensors: weight is bfloat16: save it as float32"),
        (rewritten(weight=np.ones(8, np.float32)), "_1.safetensors: weight is F32 of shape"),
        (rewritten(weight=np.ones((8, 5), np.float32)), r"_1.safetensors: weight has the shape \(8, 5\)"),
        (rewritten(weight=np.ones((9, 6), np.float32)), "files of ranks are missing, or of several runs"),
        (rewritten(weight=np.full((8, 6), np.nan, np.float32)), "_1.safetensors: row 0 has numbers that are not"),
        (lambda folder: (folder / "softmax_fc_gpu_1.safetensors").write_bytes(b"x"), "_1.safetensors: damaged"),
    ],
)
def test_damaged_files_are_named_and_nothing_is_written(harm, message, tmp_path, capsys):
    theirs(tmp_path / "old", [8, 8, 8, 7])
    harm(tmp_path / "old")
    status = main(["import", str(tmp_path / "old"), str(tmp_path / "out")])
    assert status == 2 and re.search(message, capsys.readouterr().err)
    assert not list((tmp_path / "out").glob("centers*"))


def test_files_that_are_there_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "own").mkdir()
    save(tmp_path / "own", 1)
    theirs(tmp_path / "old", [2])
    assert main(["export", str(tmp_path / "own"), str(tmp_path / "old"), "--arcface-torch", "2"]) == 2
    assert "already" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "own"), str(tmp_path / "new"), "--arcface-torch", "32"]) == 2
    assert "31 classes are fewer than 32 ranks" in capsys.readouterr().err
