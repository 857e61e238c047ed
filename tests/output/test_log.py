"""A log that cannot be written is reported once, and once when it can be again; nothing gets lost in between."""

import logging
import os
import resource
import shutil
import sys

import pytest

from partial_fc.output.log import AppendedFile, Console, LogFile
from partial_fc.training.callbacks import TensorBoard
from partial_fc.training.module import UpdateStats

from helpers.measurements import loss_log, read_by_tensorboard, reports

FULL, AGAIN = "could not write ", "writing again: "


@pytest.fixture
def full_disk():
    """Function: whether files may not grow beyond so many bytes; None ends that."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, before if size is None else (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(autouse=True)
def log(caplog):
    """The library's log, which gives back its handlers."""
    log = logging.getLogger("partial_fc")
    handlers = log.handlers[:]
    log.handlers[:] = []
    caplog.set_level(logging.INFO, logger="partial_fc")
    yield log
    for handler in log.handlers:
        handler.close()
    log.handlers[:] = handlers


def messages(caplog, *beginnings):
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith(beginnings)]


def test_a_file_on_a_full_disk(tmp_path, full_disk, caplog):
    file = AppendedFile(str(tmp_path / "file"), b"head\n")
    full_disk(20)
    for number in range(1000):
        file.write(b"%d\n" % number)
    assert messages(caplog, "") == [f"{FULL}{tmp_path}/file: File too large; the program continues"]
    assert (tmp_path / "file").stat().st_size == 20
    full_disk(None)
    file.write(b"end\n")
    file.write(b"more\n")
    assert messages(caplog, "")[1:] == [f"{AGAIN}{tmp_path}/file"]
    text = "head\n" + "".join(f"{number}\n" for number in range(1000)) + "end\nmore\n"
    assert (tmp_path / "file").read_text() == text


def test_what_waits_is_bounded(tmp_path, full_disk, monkeypatch):
    monkeypatch.setattr("partial_fc.output.log._KEPT", 100)
    file = AppendedFile(str(tmp_path / "file"))
    full_disk(1)
    for _ in range(1000):
        file.write(b"0123456789")
    full_disk(None)
    file.write(b"end")
    assert 100 <= (tmp_path / "file").stat().st_size < 120


def test_a_file_or_folder_that_was_deleted_is_made_again(tmp_path, caplog):
    (tmp_path / "a").mkdir()
    file = AppendedFile(str(tmp_path / "a" / "file"), b"head\n")
    file.write(b"1\n")
    shutil.rmtree(tmp_path / "a")
    file.write(b"2\n")
    file.write(b"3\n")
    assert (tmp_path / "a" / "file").read_text() == "head\n1\n2\n3\n"
    os.rename(tmp_path / "a" / "file", tmp_path / "a" / "old")
    file.write(b"4\n")
    assert (tmp_path / "a" / "file").read_text() == "head\n4\n" and not caplog.records


def test_a_program_that_changes_folders_goes_on_in_the_same_file(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    file = AppendedFile("log.txt")
    file.write(b"a\n")
    monkeypatch.chdir("elsewhere")
    file.write(b"b\n")
    file.close()
    assert (tmp_path / "log.txt").read_bytes() == b"a\nb\n"
    assert not os.listdir(tmp_path / "elsewhere")


def test_a_file_that_was_never_written_and_is_deleted_begins_once(tmp_path, full_disk):
    full_disk(0)
    file = AppendedFile(str(tmp_path / "file"), b"head\n")
    for number in range(3):
        file.write(b"%d\n" % number)
        (tmp_path / "file").unlink()
    full_disk(None)
    file.write(b"3\n")
    assert (tmp_path / "file").read_text() == "head\n0\n1\n2\n3\n"


def test_a_folder_that_cannot_be_made_again(tmp_path, caplog):
    (tmp_path / "a").mkdir()
    file = AppendedFile(str(tmp_path / "a" / "file"))
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "a").write_text("a file now")
    for _ in range(100):
        file.write(b"1")
    assert len(caplog.records) == 1 and messages(caplog, FULL)
    (tmp_path / "a").unlink()
    file.write(b"2")
    assert (tmp_path / "a" / "file").read_text() == "1" * 100 + "2" and messages(caplog, AGAIN)


def test_a_log_on_a_full_disk(tmp_path, full_disk, log, caplog, capsys):
    log.addHandler(Console("stdout"))
    log.addHandler(LogFile(str(tmp_path / "train.log")))
    log.info("first")
    full_disk(6)
    for number in range(400):
        log.info("update %d", number)
    full_disk(None)
    log.info("last")
    printed, updates = capsys.readouterr(), [f"update {number}" for number in range(400)]
    assert printed.err == "" and printed.out.splitlines() == [
        "first",
        updates[0],
        f"{FULL}{tmp_path}/train.log: File too large; the program continues",
        *updates[1:],
        "last",
        f"{AGAIN}{tmp_path}/train.log",
    ]
    assert (tmp_path / "train.log").read_text() == printed.out


def test_a_terminal_that_is_full(tmp_path, log, capsys, monkeypatch):
    log.addHandler(Console("stdout"))
    log.addHandler(LogFile(str(tmp_path / "train.log")))
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        for number in range(400):
            log.info("update %d", number)
        monkeypatch.undo()
        log.info("last")
        with open(os.devnull, "w") as other:  # for what it still holds
            os.dup2(other.fileno(), full.fileno())
    printed = capsys.readouterr()
    assert "Logging error" not in printed.err and printed.out == f"last\n{AGAIN}the log on stdout\n"
    assert (tmp_path / "train.log").read_text().count(f"{FULL}the log on stdout: No space left") == 1


def test_measurements_on_a_full_disk(tmp_path, full_disk, caplog):
    board = TensorBoard(str(tmp_path), 0)
    with loss_log(tmp_path, frequent=1, max_update=400, board=board) as losses, board:
        first, *others = reports([1.0] * 400)
        losses(first)
        full_disk(30)
        for report in others:
            losses(report)
        assert len(messages(caplog, FULL)) == 2 and not messages(caplog, AGAIN)
        full_disk(None)
        losses(UpdateStats(401, 1.0, 1.0))
        assert len(messages(caplog, FULL)) == len(messages(caplog, AGAIN)) == 2
        board.add(402, {"accuracy/a": 0.5})
    rows = (tmp_path / "losses.csv").read_text().splitlines()
    assert rows == ["num_update,loss", *(f"{number},1" for number in range(1, 402))]
    read = read_by_tensorboard(tmp_path)
    assert [step for step, _ in read["loss"]] == list(range(1, 402)) and read["accuracy/a"] == [[402, 0.5]]


def test_measurements_of_a_folder_that_was_deleted(tmp_path, caplog):
    folder = tmp_path / "models"
    folder.mkdir()
    board = TensorBoard(str(folder), 0)
    with loss_log(folder, frequent=1, board=board) as losses, board:
        first, second, third = reports([3.0, 2.0, 1.0])
        losses(first)
        shutil.rmtree(folder)
        losses(second)
        losses(third)
    assert (folder / "losses.csv").read_text().splitlines() == ["num_update,loss", "1,3", "2,2", "3,1"]
    assert [step for step, _ in read_by_tensorboard(folder)["loss"]] == [1, 2, 3]


def test_a_file_that_cannot_be_opened_at_the_start_is_an_error(tmp_path):
    for start in (AppendedFile, LogFile):
        with pytest.raises(OSError, match="nowhere"):
            start(str(tmp_path / "nowhere" / "file"))


def test_a_record_that_is_wrong_ends_nothing(tmp_path, log, capsys, monkeypatch):
    monkeypatch.setattr(log, "propagate", False)  # pytest's handler raises
    log.addHandler(Console("stdout"))
    log.addHandler(LogFile(str(tmp_path / "train.log")))
    log.info("%d", "no number")
    log.info("next")
    assert capsys.readouterr().out == "next\n" and (tmp_path / "train.log").read_text() == "next\n"
