import errno
import json
import os

import pytest

from partial_fc.cli.main import main
from partial_fc.errors import FAILED, WRONG_INPUT

from helpers.report import evaluation, write_run


def report(*arguments):
    return main(["report", *map(str, arguments)])


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_a_page_is_written(run, tmp_path, caplog):
    (tmp_path / "lfw.json").write_text(json.dumps(evaluation()))
    assert report(run, tmp_path / "lfw.json", tmp_path / "out.html") == 0
    assert (tmp_path / "out.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert f"wrote {tmp_path / 'out.html'}" in caplog.text
    assert sorted(os.listdir(tmp_path)) == ["lfw.json", "out.html", "run"]


def test_an_unfinished_run_is_called_so(tmp_path):
    assert report(write_run(tmp_path / "run", finished=False), tmp_path / "out.html") == 0
    assert "unfinished: it is still training" in (tmp_path / "out.html").read_text(encoding="utf-8")


def fails(capsys, status, message, *arguments):
    assert report(*arguments) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line, line


def test_a_page_that_is_there_is_kept(run, tmp_path, capsys):
    out = tmp_path / "out.html"
    out.write_text("mine")
    fails(capsys, WRONG_INPUT, f"OUT.html {out}: exists already; --overwrite replaces it", run, out)
    assert out.read_text() == "mine"
    assert report(run, out, "--overwrite") == 0 and out.stat().st_size > 10**6


@pytest.mark.parametrize(
    "name, message",
    [("run2", "the last argument is the file to write, whose name ends in .html"), ("no/out.html", "does not exist")],
)
def test_where_no_page_can_be_written(run, tmp_path, capsys, name, message):
    fails(capsys, WRONG_INPUT, message, run, tmp_path / name)


@pytest.mark.parametrize("name, content", [("x.json", "{"), ("x.json", "[1]"), ("none", None), (".", None)])
def test_wrong_input_is_named_and_nothing_is_written(run, tmp_path, capsys, name, content):
    folder = tmp_path / "input"
    folder.mkdir()
    if content:
        (folder / name).write_text(content)
    fails(capsys, WRONG_INPUT, f"error: {folder / name}: ", run, folder / name, tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()


def test_a_full_disk_leaves_the_old_page(run, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out.html"
    out.write_text("old")

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("partial_fc.files.sync", full)
    fails(capsys, FAILED, f"No space left on device: '{out}'", run, out, "--overwrite")
    assert out.read_text() == "old" and sorted(os.listdir(tmp_path)) == ["out.html", "run"]


def test_sources_and_page_are_both_needed(run, capsys):
    with pytest.raises(SystemExit):
        report(run)
    assert "required: OUT.html" in capsys.readouterr().err
