import errno
import os
import resource

import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.eval import unfinished_features
from partial_fc.eval.unfinished_features import BLOCK_ROWS, UnfinishedFeatures

ROWS = 2 * BLOCK_ROWS + 5


def prepared(path, arguments, anew=False, shape=(ROWS, 3)):
    unfinished = UnfinishedFeatures(str(path), shape)
    unfinished.lock()
    try:
        unfinished.prepare(arguments, anew)
    except BaseException:
        unfinished.close()
        raise
    return unfinished, unfinished.open()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "f.npy"


def test_blocks_that_are_written_need_not_be_written_again(path):
    features = np.random.RandomState(0).randn(ROWS, 3).astype(np.float32)
    first, blocks = prepared(path, {"a": 1})
    assert blocks == [range(0, BLOCK_ROWS), range(BLOCK_ROWS, 2 * BLOCK_ROWS), range(2 * BLOCK_ROWS, ROWS)]
    first.write(blocks[2], features[blocks[2]])
    first.write(blocks[0], features[blocks[0]])
    first.close()
    del first  # and with it the lock, as at the end of a process
    second, left = prepared(path, {"a": 1})
    assert left == [blocks[1]]
    second.write(left[0], features[left[0]])
    second.close()
    second.move_to(str(path))
    read = np.load(path)
    assert read.dtype == np.float32 and np.array_equal(read, features)
    assert os.listdir(path.parent) == ["f.npy"]


@pytest.mark.parametrize("arguments, anew", [({"a": 2}, False), ({"a": 1}, True)])
def test_others_begin_anew(path, arguments, anew):
    first, blocks = prepared(path, {"a": 1})
    first.write(blocks[0], np.ones((BLOCK_ROWS, 3)))
    first.close()
    del first
    again, left = prepared(path, arguments, anew)
    assert left == blocks and again.matches(arguments)
    again.close()


def test_a_run_that_died_in_its_preparations_begins_anew(path, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(unfinished_features.Journal, "add", die)
        prepared(path, {"a": 1})
    assert not UnfinishedFeatures(str(path), (ROWS, 3)).matches({"a": 1})
    again, blocks = prepared(path, {"a": 1})
    assert len(blocks) == 3
    again.close()


def test_only_one_run_at_a_time(path):
    first, _ = prepared(path, {"a": 1})
    with pytest.raises(InputError, match="another run is at work there: process"):
        prepared(path, {"a": 1})
    first.close()


def test_a_file_that_may_not_grow_is_named(path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*/\.f\.npy\.unfinished/features\.npy'"):
            prepared(path, {"a": 1})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_reported_before_the_work_and_named(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/\.f\.npy\.unfinished/features\.npy'"):
        prepared(path, {"a": 1})


def test_a_file_that_cannot_be_written_is_named(path, monkeypatch):
    def full(*_):
        raise OSError(errno.EIO, "Input/output error")

    first, blocks = prepared(path, {"a": 1})
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="Input/output error: .*features.npy"):
        first.write(blocks[0], np.ones((BLOCK_ROWS, 3)))
    first.close()


def test_rows_of_skipped_images_are_left_out(path):
    features = np.random.RandomState(0).randn(ROWS, 3).astype(np.float32)
    first, blocks = prepared(path, {"a": 1})
    first.write(blocks[2], features[blocks[2]], {ROWS - 1: "damaged"})
    first.close()
    del first
    second, left = prepared(path, {"a": 1})
    assert left == blocks[:2]
    for rows, skipped in zip(left, ({3: "missing"}, {})):
        second.write(rows, features[rows], skipped)
    assert second.skipped() == {3: "missing", ROWS - 1: "damaged"}
    second.close()
    second.move_to(str(path), second.skipped())
    assert np.array_equal(np.load(path), np.delete(features, [3, ROWS - 1], axis=0))
    assert os.listdir(path.parent) == ["f.npy"]


def test_what_was_skipped_of_others_is_forgotten(path):
    first, blocks = prepared(path, {"a": 1})
    first.write(blocks[0], np.ones((BLOCK_ROWS, 3)), {3: "missing"})
    first.close()
    del first
    again, left = prepared(path, {"a": 2})
    assert again.skipped() == {} and left == blocks
    again.close()


def test_ranks_have_journals_of_their_own_which_all_count(path):
    first, blocks = prepared(path, {"a": 1})
    other = UnfinishedFeatures(str(path), (ROWS, 3))
    assert other.open(1) == blocks
    first.write(blocks[0], np.ones((BLOCK_ROWS, 3)))
    other.write(blocks[1], np.ones((BLOCK_ROWS, 3)), {BLOCK_ROWS: "missing"})
    other.close()
    first.close()
    del first, other
    alone, left = prepared(path, {"a": 1})
    assert left == [blocks[2]] and alone.skipped() == {BLOCK_ROWS: "missing"}
    alone.close()


@pytest.mark.parametrize(
    "line", ["[0", "[0, {}]", "5\n", "[3, {}]\n", "[-1, {}]\n", '[0, {"600": ""}]\n', '[0, {"x": ""}]\n', "[[], {}]\n"]
)
def test_lines_that_are_not_whole_or_not_blocks_do_not_count(path, line):
    first, blocks = prepared(path, {"a": 1})
    first.write(blocks[1], np.ones((BLOCK_ROWS, 3)))
    first.close()
    del first
    with open(path.parent / ".f.npy.unfinished" / "journal-0", "a") as file:
        file.write(line)
    second, left = prepared(path, {"a": 1})
    assert left == [blocks[0], blocks[2]]
    second.write(blocks[0], np.ones((BLOCK_ROWS, 3)))
    second.close()
    del second
    third, left = prepared(path, {"a": 1})
    assert left == [blocks[2]]
    third.close()
