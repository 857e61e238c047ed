import os
from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest

from partial_fc.checkpoint.center_files import CenterFiles, save_centers
from partial_fc.checkpoint.convert_centers import export_original, import_numpy, import_original, map_centers
from partial_fc.cli.centers import main
from partial_fc.errors import InputError
from partial_fc.head.memory_bank import MemoryBank, fill_initial_centers
from partial_fc.head.optimizer import CenterAdamW

from helpers.centers import EMBEDDING_SIZE, NUM_CLASSES, save


def read(folder):
    """Centers and momentum of all classes in a folder."""
    files = CenterFiles(str(folder))
    return files.take(np.arange(files.num_classes))


def originals(folder, num_classes, world_size):
    """Files as the published system writes them, noise in the rows of no class; returns centers and momentum."""
    folder.mkdir()
    random = np.random.RandomState(0)
    num_local = (num_classes + world_size - 1) // world_size
    values = random.randn(2, num_local * world_size, EMBEDDING_SIZE).astype(np.float32)
    for rank in range(world_size):
        for name, array in zip(("centers", "centers_mom"), values):
            rows = mx.nd.array(array[rank * num_local : (rank + 1) * num_local])
            mx.nd.save(str(folder / f"{rank}_{name}.param"), rows)
    return values[:, :num_classes]


@pytest.mark.parametrize("num_classes, world_size", [(31, 1), (31, 4), (32, 4), (5, 4), (33, 8)])
def test_files_of_the_published_system(num_classes, world_size, tmp_path):
    values = originals(tmp_path / "old", num_classes, world_size)
    command = ["import", str(tmp_path / "old"), str(tmp_path / "centers"), "--num-classes", str(num_classes)]
    assert main(command) == 0
    for array, expected in zip(read(tmp_path / "centers"), values):
        assert np.array_equal(array, expected)
    assert main(["export", str(tmp_path / "centers"), str(tmp_path / "new"), "--ranks", str(world_size)]) == 0
    assert sorted(os.listdir(tmp_path / "new")) == sorted(os.listdir(tmp_path / "old"))
    num_local = -(-num_classes // world_size)
    for name, expected in zip(("centers", "centers_mom"), values):
        parts = [mx.nd.load(str(tmp_path / "new" / f"{rank}_{name}.param")) for rank in range(world_size)]
        assert all(len(part) == 1 and part[0].shape == (num_local, EMBEDDING_SIZE) for part in parts)
        assert np.array_equal(np.concatenate([part[0].asnumpy() for part in parts])[:num_classes], expected)


def test_rows_of_no_class_are_as_initial_centers(tmp_path):
    save(tmp_path, 2)
    export_original(str(tmp_path), str(tmp_path / "out"), 4)
    last = mx.nd.load(str(tmp_path / "out" / "3_centers.param"))[0].asnumpy()[-1]  # row 31 of 31 classes
    assert 0.001 < np.abs(last).mean() < 0.1
    assert not mx.nd.load(str(tmp_path / "out" / "3_centers_mom.param"))[0].asnumpy()[-1].any()


@pytest.mark.parametrize("num_classes, message", [(24, "25 to 32 classes, not 24"), (33, "25 to 32 classes")])
def test_number_that_does_not_go_with_the_rows(num_classes, message, tmp_path):
    originals(tmp_path / "old", 31, 8)
    with pytest.raises(InputError, match=message):
        import_original(str(tmp_path / "old"), str(tmp_path / "out"), num_classes)


def without_rank_1(folder):
    os.remove(folder / "1_centers.param")


def of_another_size(folder):
    mx.nd.save(str(folder / "1_centers.param"), mx.nd.ones((8, EMBEDDING_SIZE + 1)))


def garbage(folder):
    (folder / "1_centers.param").write_bytes(b"garbage" * 50)


def not_a_number(folder):
    mx.nd.save(str(folder / "1_centers_mom.param"), mx.nd.full((8, EMBEDDING_SIZE), float("nan")))


@pytest.mark.parametrize(
    "harm, message",
    [
        (without_rank_1, r"ranks \[0, 2, 3\]"),
        (of_another_size, "1_centers.param: has shape"),
        (garbage, "1_centers.param: not a file"),
        (not_a_number, "1_centers_mom.param: row 0 has numbers that are not"),
    ],
)
def test_damaged_files_are_named_and_nothing_is_written(harm, message, tmp_path):
    originals(tmp_path / "old", 31, 4)
    harm(tmp_path / "old")
    with pytest.raises(InputError, match=message):
        import_original(str(tmp_path / "old"), str(tmp_path / "out"), 31)
    assert not (tmp_path / "out").exists() or not os.listdir(tmp_path / "out")


def test_number_of_classes_is_asked_for(tmp_path, capsys):
    originals(tmp_path / "old", 31, 4)
    assert main(["import", str(tmp_path / "old"), str(tmp_path / "out")]) == 2
    assert "error: --num-classes N is needed" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    assert "nowhere: neither a folder nor a file NAME.npy" in capsys.readouterr().err


def test_another_number_of_classes_than_the_rows_is_an_error(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.ones((5, 3)))
    command = ["import", str(tmp_path / "a.npy"), str(tmp_path / "out"), "--num-classes"]
    assert main([*command, "4"]) == 2 and not (tmp_path / "out").exists()
    assert f"error: {tmp_path}/a.npy: has 5 classes, not 4" in capsys.readouterr().err
    assert main([*command, "5"]) == 0


def test_numpy_there_and_back(tmp_path):
    values = save(tmp_path, 3)
    assert main(["export", str(tmp_path), str(tmp_path / "numpy"), "--numpy"]) == 0
    for name, expected in zip(("centers", "centers_mom"), values):
        array = np.load(tmp_path / "numpy" / f"{name}.npy")
        assert array.dtype == np.float32 and np.array_equal(array, expected)
    assert main(["import", str(tmp_path / "numpy" / "centers.npy"), str(tmp_path / "back")]) == 0
    for array, expected in zip(read(tmp_path / "back"), values):
        assert np.array_equal(array, expected)


def test_numpy_without_momentum(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(5, 3))  # float64
    import_numpy(str(tmp_path / "a.npy"), str(tmp_path / "out"))
    weight, weight_mom = read(tmp_path / "out")
    assert np.array_equal(weight, np.eye(5, 3)) and not weight_mom.any()


@pytest.mark.parametrize(
    "array",
    [np.ones(5), np.ones((2, 3), int), np.array([["a", None]], object), np.ones((0, 3)), np.array([[1.0, np.inf]])],
)
def test_other_arrays_are_refused(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match="a.npy: "):
        import_numpy(str(tmp_path / "a.npy"), str(tmp_path / "out"))


def test_centers_that_are_there_are_not_overwritten(tmp_path, capsys):
    save(tmp_path, 1)
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    before = read(tmp_path)
    assert main(["import", str(tmp_path / "a.npy"), str(tmp_path)]) == 2
    assert "already has centers-*.safetensors" in capsys.readouterr().err
    assert all(np.array_equal(array, expected) for array, expected in zip(read(tmp_path), before))


def test_unfinished_centers_of_a_killed_run_are_removed(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".centers-00000-of-00001.safetensors.4711.tmp").write_bytes(b"half")
    import_numpy(str(tmp_path / "a.npy"), str(tmp_path / "out"))
    (path,) = (tmp_path / "out").iterdir()
    assert path.suffix == ".safetensors"


def save_adamw(folder, world_size):
    """Files of random centers and moments; returns them."""
    random = np.random.RandomState(0)
    values = [random.randn(NUM_CLASSES, EMBEDDING_SIZE).astype(np.float32) for _ in range(3)]
    for rank in range(world_size):
        comm = SimpleNamespace(rank=rank, world_size=world_size)
        bank = MemoryBank(NUM_CLASSES, EMBEDDING_SIZE, comm, states=CenterAdamW.states)
        bank.set(bank.partition.class_start, *(value[slice(*bank.partition)] for value in values))
        save_centers(str(folder), bank, world_size)
    return values


def test_centers_of_adamw_are_converted(tmp_path):
    values = save_adamw(tmp_path, 3)
    assert main(["export", str(tmp_path), str(tmp_path / "numpy"), "--numpy"]) == 0
    for name, expected in zip(("centers", "centers_mean", "centers_var"), values):
        assert np.array_equal(np.load(tmp_path / "numpy" / f"{name}.npy"), expected)
    assert not os.path.exists(tmp_path / "numpy" / "centers_mom.npy")
    assert main(["export", str(tmp_path), str(tmp_path / "published"), "--ranks", "1"]) == 0
    names = ("centers", "centers_mom")
    centers, momentum = (mx.nd.load(str(tmp_path / "published" / f"0_{name}.param"))[0] for name in names)
    assert np.array_equal(centers.asnumpy(), values[0]) and not momentum.asnumpy().any()
    pairs = np.array([[0, 30], [2, 7]])
    map_centers(str(tmp_path), str(tmp_path / "mapped"), 4, pairs)
    files = CenterFiles(str(tmp_path / "mapped"))
    assert files.states == CenterAdamW.states
    ((_, *arrays),) = files.blocks(0, 4)
    for array, expected in zip(arrays, values):
        assert np.array_equal(array[[0, 2]], expected[[30, 7]])
    assert not arrays[1][[1, 3]].any() and not arrays[2][[1, 3]].any()


def test_centers_of_two_optimizers_do_not_belong_together(tmp_path):
    save_adamw(tmp_path, 2)
    adamw = (tmp_path / "centers-00000-of-00002.safetensors").read_bytes()
    save(tmp_path, 2)
    (tmp_path / "centers-00000-of-00002.safetensors").write_bytes(adamw)
    with pytest.raises(InputError, match="centers of several runs"):
        CenterFiles(str(tmp_path))


@pytest.mark.parametrize("writers", [1, 3])
def test_map(writers, tmp_path):
    values = save(tmp_path, writers)
    random = np.random.RandomState(1)
    new_labels, old_labels = random.permutation(40)[:20], random.permutation(NUM_CLASSES)[:20]
    map_centers(str(tmp_path), str(tmp_path / "out"), 40, np.stack([new_labels, old_labels], axis=1), seed=3)
    weight, weight_mom = read(tmp_path / "out")
    for array, expected in zip((weight, weight_mom), values):
        assert len(array) == 40 and np.array_equal(array[new_labels], expected[old_labels])
    anew = np.setdiff1d(np.arange(40), new_labels)
    initial = np.empty((40, EMBEDDING_SIZE), np.float32)
    fill_initial_centers(initial, 0, seed=3)
    assert np.array_equal(weight[anew], initial[anew]) and not weight_mom[anew].any()


def test_map_command_by_labels_and_by_names(tmp_path, capsys):
    values = save(tmp_path, 2)
    (tmp_path / "labels").write_text("0 30\n2\t7\n")
    command = ["map", str(tmp_path), str(tmp_path / "a"), "--labels", str(tmp_path / "labels"), "--num-classes", "3"]
    assert main(command) == 0
    (tmp_path / "old.txt").write_text("".join(f"person {label}\n" for label in range(NUM_CLASSES)))
    (tmp_path / "new.txt").write_text("person 30\nsomebody else\nperson 7\n")
    names = [str(tmp_path / "old.txt"), str(tmp_path / "new.txt")]
    command = ["map", str(tmp_path), str(tmp_path / "b"), "--names", *names]
    assert main([*command, "--num-classes", "4"]) == 2 and "new.txt: has 3 classes, not 4" in capsys.readouterr().err
    assert main(command) == 0
    for by_labels, by_names, expected in zip(read(tmp_path / "a"), read(tmp_path / "b"), values):
        assert np.array_equal(by_labels[[0, 2]], expected[[30, 7]]) and np.array_equal(by_labels, by_names)


def test_of_several_old_classes_that_become_one_the_first_keeps_its_center(tmp_path):
    values = save(tmp_path, 2)
    map_centers(str(tmp_path), str(tmp_path / "out"), 2, np.array([[1, 20], [0, 3], [1, 7]]))
    for found, expected in zip(read(tmp_path / "out"), values):
        assert np.array_equal(found, expected[[3, 20]])


@pytest.mark.parametrize(
    "pairs, message",
    [
        ([[40, 0]], "new label 40: the new set has 40 classes, 0 to 39"),
        ([[0, 31]], "old label 31: .*test_wrong_pairs.* has 31 classes, 0 to 30"),
        ([[-1, 0]], "new label -1"),
        ([[1, 5], [2, 5]], "old label 5 is repeated"),
    ],
)
def test_wrong_pairs(pairs, message, tmp_path):
    save(tmp_path, 1)
    with pytest.raises(InputError, match=message):
        map_centers(str(tmp_path), str(tmp_path / "out"), 40, np.array(pairs))
