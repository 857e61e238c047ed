import errno

import pytest

from partial_fc.data.journal import Journal, read_journal


def add(path, *entries, end=0):
    journal = Journal(str(path), end)
    for entry in entries:
        journal.add(entry, synced=True)
    journal.close()


def entries(path):
    return [entry for entry, _ in read_journal(str(path))]


def test_a_journal_is_continued_where_it_was_cut(tmp_path):
    path = tmp_path / "journal"
    assert entries(path) == []
    add(path, {"a": 1}, ["Ann", 1], ["Bob", 2])
    positions = [end for _, end in read_journal(str(path))]
    assert entries(path) == [{"a": 1}, ["Ann", 1], ["Bob", 2]] and positions[-1] == path.stat().st_size
    add(path, "new", end=positions[1])
    assert entries(path) == [{"a": 1}, ["Ann", 1], "new"]
    add(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("rest", [b"[1, 2", b"[1, 2]", b"\xff\n", b"[1,\n", b"[" * 100_000 + b"\n", b"1" * 30 + b"\n"])
def test_what_a_killed_run_has_left_is_no_entry(tmp_path, rest):
    path = tmp_path / "journal"
    add(path, 1, 2)
    path.write_bytes(path.read_bytes() + rest + b"3\n" * rest.endswith(b"\n"))
    assert entries(path) == [1, 2]


def test_a_full_disk_is_reported_with_the_name(monkeypatch, tmp_path):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fdatasync", full)
    with pytest.raises(OSError, match="No space left on device: '.*journal'"):
        add(tmp_path / "journal", 1)
