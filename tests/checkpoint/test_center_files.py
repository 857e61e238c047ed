import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from partial_fc.checkpoint import center_files
from partial_fc.checkpoint.center_files import CenterFiles, load_centers
from partial_fc.errors import InputError

from helpers.centers import EMBEDDING_SIZE, bank, banks, joined, save


@pytest.mark.parametrize("readers", [1, 2, 3, 5])
@pytest.mark.parametrize("writers", [1, 2, 3])
def test_centers_are_read_by_any_number_of_ranks(writers, readers, tmp_path):
    values = save(tmp_path, writers)
    assert sorted(os.listdir(tmp_path)) == [
        f"centers-{rank:05d}-of-{writers:05d}.safetensors" for rank in range(writers)
    ]
    shards = banks(readers, seed=1)
    for each in shards:
        load_centers(str(tmp_path), each)
    for array, expected in zip(joined(shards), values):
        assert np.array_equal(array, expected)


def test_the_state_is_read_on_demand_only(tmp_path):
    weight, _ = save(tmp_path, 3)
    blocks = list(CenterFiles(str(tmp_path)).blocks(4, 29, with_state=False))
    assert {len(block) for block in blocks} == {2}  # first class and weight
    assert np.array_equal(np.concatenate([block[1] for block in blocks]), weight[4:29])


@pytest.mark.parametrize("writers, readers", [(1, 5), (5, 1), (5, 5), (5, 2)])
def test_more_ranks_than_classes(writers, readers, tmp_path):
    values = save(tmp_path, writers, num_classes=3)
    assert len(os.listdir(tmp_path)) == min(writers, 3)
    shards = banks(readers, num_classes=3, seed=1)
    for each in shards:
        load_centers(str(tmp_path), each)
    for array, expected in zip(joined(shards), values):
        assert np.array_equal(array, expected)


def test_missing_file_is_reported(tmp_path):
    save(tmp_path, 3)
    os.remove(tmp_path / "centers-00001-of-00003.safetensors")
    load_centers(str(tmp_path), bank(3, 0))
    with pytest.raises(InputError, match=rf"{tmp_path}: 10 of the classes \[0, 31\) are in none of its 2 files"):
        load_centers(str(tmp_path), bank(1, 0))


def test_folder_without_files(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}: has no centers"):
        load_centers(str(tmp_path), bank(1, 0))


def test_missing_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        load_centers(str(tmp_path / "nowhere"), bank(1, 0))


def test_damaged_file_is_an_input_error(tmp_path):
    save(tmp_path, 1)
    path = tmp_path / "centers-00000-of-00001.safetensors"
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
    with pytest.raises(InputError, match="centers-00000-of-00001"):
        load_centers(str(tmp_path), bank(1, 0))


def test_files_of_two_runs_in_one_folder_are_not_mixed(tmp_path):
    # A run on 3 ranks after one on 2 in the same folder: the classes are in several files, none of them is missing.
    save(tmp_path, 2)
    save(tmp_path, 3)
    with pytest.raises(InputError, match="centers of several runs"):
        load_centers(str(tmp_path), bank(1, 0))


@pytest.mark.parametrize("arguments", [dict(num_classes=30), dict(num_classes=32), dict(embedding_size=9)])
def test_other_numbers_of_classes_or_dimensions(arguments, tmp_path):
    save(tmp_path, 2)
    other = bank(1, 0, **arguments)
    before = other.weight.asnumpy()
    expected = f"this run has {other.num_classes} of size {other.embedding_size}"
    with pytest.raises(InputError, match=f"31 classes of size 8, {expected}"):
        load_centers(str(tmp_path), other)
    assert np.array_equal(other.weight.asnumpy(), before)


def test_files_are_what_the_library_reads(tmp_path):
    values = save(tmp_path, 2)
    parts = [load_file(tmp_path / f"centers-{rank:05d}-of-00002.safetensors") for rank in range(2)]
    for name, expected in zip(("weight", "weight_mom"), values):
        assert np.array_equal(np.concatenate([part[name] for part in parts]), expected)


def test_blocks_are_small_and_in_order(tmp_path, monkeypatch):
    values = save(tmp_path, 3)
    monkeypatch.setattr(center_files, "_BLOCK_BYTES", 4 * 4 * EMBEDDING_SIZE)
    for start, stop in ((0, 31), (5, 29), (12, 13)):
        blocks = list(CenterFiles(str(tmp_path)).blocks(start, stop))
        assert max(len(weight) for _, weight, _ in blocks) == min(4, stop - start)
        assert [first for first, _, _ in blocks] == np.cumsum([start] + [len(b) for _, b, _ in blocks])[:-1].tolist()
        for index, expected in zip((1, 2), values):
            assert np.array_equal(np.concatenate([block[index] for block in blocks]), expected[start:stop])


def test_classes_are_taken_in_any_order(tmp_path, monkeypatch):
    values = save(tmp_path, 3)
    monkeypatch.setattr(center_files, "_BLOCK_BYTES", 4 * 4 * EMBEDDING_SIZE)
    classes = np.array([30, 2, 3, 4, 5, 6, 7, 8, 9, 0, 29, 12, 11, 10, 13])
    for array, expected in zip(CenterFiles(str(tmp_path)).take(classes), values):
        assert np.array_equal(array, expected[classes])


def test_small_blocks_write_the_same(tmp_path, monkeypatch):
    (tmp_path / "large").mkdir(), (tmp_path / "small").mkdir()
    save(tmp_path / "large", 2)
    monkeypatch.setattr(center_files, "_BLOCK_BYTES", 4 * 4 * EMBEDDING_SIZE)
    save(tmp_path / "small", 2)
    for path in (tmp_path / "large").iterdir():
        assert path.read_bytes() == (tmp_path / "small" / path.name).read_bytes()


@pytest.mark.parametrize(
    "tensors, metadata",
    [
        (dict(weight=(3, 8)), dict(class_start="0", num_classes="3")),
        (dict(weight=(3, 8), weight_mom=(4, 8)), dict(class_start="0", num_classes="3")),
        (dict(weight=(3, 8), weight_mom=(3, 8)), dict(class_start="1", num_classes="3")),
        (dict(weight=(3, 8), weight_mom=(3, 8)), dict(class_start="x", num_classes="3")),
        (dict(weight=(3, 8), weight_mom=(3, 8)), dict(num_classes="3")),
        (dict(weight=(3,), weight_mom=(3,)), dict(class_start="0", num_classes="3")),
    ],
)
def test_other_safetensors_files_are_no_centers(tensors, metadata, tmp_path):
    path = tmp_path / "centers-00000-of-00001.safetensors"
    save_file({name: np.zeros(shape, np.float32) for name, shape in tensors.items()}, path, metadata)
    with pytest.raises(InputError, match="centers-00000-of-00001.safetensors: not a file of centers"):
        CenterFiles(str(tmp_path))


def test_full_disk_is_an_error_that_names_the_file():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        center_files.write_centers("/dev/full", 0, 1, 1, 8, [(0, np.zeros((1, 8)), np.zeros((1, 8)))])
