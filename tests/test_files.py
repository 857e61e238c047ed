import os

import pytest

from partial_fc.files import atomic_path


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
