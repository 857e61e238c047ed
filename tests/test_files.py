import errno
import os

import numpy as np
import pytest

from partial_fc.data.records.data_set import record_path
from partial_fc.errors import InputError
from partial_fc.files import atomic_path, has_ending, naming, parse_json, read_json, remove_unfinished, walk
from partial_fc.interchange.state_file import read_state, write_state


def test_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "file.txt"
    with atomic_path(str(path)) as unfinished:
        assert os.path.dirname(unfinished) == str(tmp_path)
        with open(unfinished, "w") as file:
            file.write("whole")
        assert not path.exists()
    assert path.read_text() == "whole" and os.listdir(tmp_path) == ["file.txt"]


def test_old_file_is_replaced_at_once(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with atomic_path(str(path)) as unfinished:
        with open(unfinished, "w") as file:
            file.write("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["file.txt"]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    others = [".a.rec.tmp", ".b.rec.12.tmp", ".a.rec.x.tmp", "a.rec", ".a.rec"]
    for name in [".a.rec.12.tmp", ".a.rec.3.tmp", *others]:
        (tmp_path / name).touch()
    remove_unfinished(str(tmp_path), "a.rec")
    assert sorted(os.listdir(tmp_path)) == sorted(others)
    remove_unfinished(str(tmp_path), "*.rec")
    assert ".b.rec.12.tmp" not in os.listdir(tmp_path)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_failure_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_path(str(path)) as unfinished:
        with open(unfinished, "w") as file:
            file.write("half")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file.txt"]


def test_block_that_writes_nothing_fails(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(str(tmp_path / "file.txt")):
        pass
    assert os.listdir(tmp_path) == []


def test_contents_are_on_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (order.append(name), real(*args)))
    with atomic_path(str(tmp_path / "file.txt")) as unfinished, open(unfinished, "w") as file:
        file.write("text")
    assert order == ["fsync", "replace"]


def test_name_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_path("file.txt") as unfinished, open(unfinished, "w") as file:
        file.write("text")
    assert os.listdir(tmp_path) == ["file.txt"]


def test_name_is_added_to_errors():
    def fail(error, *errors):
        with naming("property", *errors):
            raise error

    with pytest.raises(OSError, match="No space left on device: 'property'"):
        fail(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="known"):
        fail(OSError(errno.ENOENT, "No such file", "known"))
    with pytest.raises(OSError, match=r"last line \(\d+ MiB are free\): 'property'"):
        fail(RuntimeError("trace\nlast line"), RuntimeError)
    with pytest.raises(ValueError):
        fail(ValueError(), RuntimeError)


def test_full_disk_names_the_file_and_not_the_unfinished_one(tmp_path):
    path = str(tmp_path / "file")
    with pytest.raises(OSError, match="No space left on device: ") as error, atomic_path(path):
        with open("/dev/full", "wb") as full:
            full.write(b"data")
    assert error.value.filename == path


@pytest.fixture
def linked(tmp_path):
    """Folders a, b/c, z and .hidden with a file `x` each, links back to the top, and to others beside them."""
    for name in ("a", "b/c", "z", ".hidden"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x").touch()
    (tmp_path / "z" / "top").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to(".")
    (tmp_path / "a" / "z").symlink_to("../z")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "b" / "c")
    return tmp_path


def test_walk_follows_links_and_visits_no_folder_twice(linked):
    repeated = []
    found = [(os.path.relpath(parent, linked), names) for parent, names in walk(str(linked), repeated=repeated)]
    assert found == [(".", []), ("a", ["x"]), ("b", []), ("elsewhere", ["x"]), ("z", ["x"])]
    assert [os.path.relpath(path, linked) for path in repeated] == ["a/z", "b/c", "b/self", "z/top"]


def test_walk_names_a_folder_that_cannot_be_read(linked, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if os.path.basename(path) == "b":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError, match="/b'"):
        list(walk(str(linked)))


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999", "-1e400", "9" * 21])
def test_json_has_finite_numbers_only(tmp_path, number):
    with pytest.raises(ValueError, match="finite number|digits"):
        parse_json(f'{{"a": [1, {number}]}}')
    path = tmp_path / "a.json"
    path.write_text(number)
    with pytest.raises(InputError, match=f"^{path}: not JSON: "):
        read_json(str(path))


def test_json_keeps_numbers_as_they_are():
    assert parse_json('[1, -2.5, 1e-3, 12345678901234567890, "Infinity"]') == [
        1,
        -2.5,
        0.001,
        12345678901234567890,
        "Infinity",
    ]


def test_endings_may_be_in_upper_case(tmp_path):
    assert has_ending("a/B.NPY", ".pt", ".npy") and has_ending("b.npy", ".npy")
    assert not has_ending("b.npy.txt", ".npy", ".pt") and not has_ending("npy", ".npy")
    assert record_path("DATA/TRAIN.REC") == "DATA/TRAIN.REC"
    write_state(str(tmp_path / "S.SAFETENSORS"), {"w": np.arange(3.0)})
    assert list(read_state(str(tmp_path / "S.SAFETENSORS"))["w"]) == [0, 1, 2]
