import numpy as np
import pytest

from partial_fc.data import index as index_module
from partial_fc.data.index import LACKING, MISPLACED, read_index
from partial_fc.errors import InputError


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "train.idx"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.mark.parametrize("block", [2**24, 7])
def test_positions_by_number(write, monkeypatch, block):
    monkeypatch.setattr(index_module, "_BLOCK", block)
    path = write("2\t40\n4\t80\n1\t0\n0\t1048576\n")
    assert read_index(path, 2**21).tolist() == [1048576, 0, 40, -1, 80]
    assert read_index(write("1\t0\n3\t8"), 12).tolist() == [-1, 0, -1, 8]  # no line break at the end


def test_many_in_any_order(write, monkeypatch):
    monkeypatch.setattr(index_module, "_BLOCK", 1000)
    numbers = np.random.RandomState(0).permutation(5000)
    path = write("".join(f"{number}\t{4 * number}\n" for number in numbers))
    assert np.array_equal(read_index(path, 20000), 4 * np.arange(5000))


@pytest.mark.parametrize("position", [44, 2**40, -4, 6])
def test_misplaced_record_leaves_the_others(write, position):
    index = read_index(write(f"1\t0\n2\t{position}\n4\t8\n"), 44)
    assert index.tolist() == [LACKING, 0, MISPLACED, LACKING, 8]


def test_nothing(write):
    assert read_index(write(""), 0).tolist() == []


@pytest.mark.parametrize("text, message", [
    ("1\t0\n2\t44\n3\t48\n", r"record 2 is said to start at byte 44, .* \(2 of 3 lines"),
    ("1\t-4\n2\t0\n3\t6\n", "record 1 is said to start at byte -4"),
    ("1\t0\n1\t4\n", "a record number twice"),
    ("-1\t0\n", "record number -1"),
    (f"{2**40}\t0\n", f"record number {2**40} among 1"),
    ("1 0\n", "not an index"),
    ("1\t0\n2\n", "not an index"),
    ("1\t0\n2\t4\t8\n3\n", "not an index"),
    ("1\t0\n\n2\t4\n", "not an index"),
    ("1\t0\n2\t0x4\n", "not an index"),
    ("1\t0.5\n", "not an index"),
    (f"1\t{2**70}\n", "."),
    (b"\x00\xff\t\n", "not an index"),
])
def test_damage_is_named(write, text, message):
    with pytest.raises(InputError, match=rf"train\.idx: .*{message}"):
        read_index(write(text), 44)
