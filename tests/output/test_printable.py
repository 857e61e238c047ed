"""What names of files bring does nothing on a terminal, in a log, a table, a spreadsheet or a page."""

import csv
import io
import sys

import pytest

from partial_fc.cli.run import log, run
from partial_fc.data.records.data_set import write_reasons
from partial_fc.data.tools.pack import pack
from partial_fc.distributed import watch
from partial_fc.doctor.checklist import TROUBLE, Finding, lines
from partial_fc.errors import InputError
from partial_fc.eval.output import Result, csv_cell, results_csv, table
from partial_fc.eval.report import report
from partial_fc.output.printable import escaped, escaped_message, has_controls, print_lines, print_message
from partial_fc.pictures.labels import Labels
from partial_fc.training.callbacks import TensorBoard

from helpers.cases import for_each
from helpers.measurements import read_by_tensorboard

EVIL = (
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x7f",
    "\x00",
    "\b",
    "\r",
    "\t",
    "\n",
    "\x85",
    "\u2028",
    "\u2029",
    "\u202a",
    "\u202b",
    "\u202c",
    "\u202d",
    "\u202e",
    "\u2066",
    "\u2067",
    "\u2068",
    "\u2069",
    "\u200e",
    "\u200f",
    "\u061c",
    "\u200b",
    "\ufeff",
    "\U000e0041",
    "\udcff",
    "\ud800",
)
GOOD = (
    "Ann Lee",
    "a\\b",
    "\u00e9",
    "\u674e",
    "\u05d0\u05d1",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\U0001f468\u200d\U0001f469",
    "\u0e01\u0e33",
    "e\u0301",
)
every_evil = for_each("evil", EVIL)


def harmless(text):
    """Whether a text has none of the evil characters but ends of lines."""
    return all(line.isprintable() for line in text.split("\n"))


@every_evil
def test_evil_is_escaped(evil):
    text = escaped(f"a{evil}b")
    assert text.isprintable() and text.startswith("a\\") and escaped(text) == text
    assert has_controls(evil) or evil in ("\udcff", "\ud800")


@for_each("name", GOOD)
def test_names_of_all_scripts_stay(name):
    assert escaped(name) == name and not has_controls(name)


def test_how_it_is_escaped():
    assert escaped("\x1b\u202e\n\t\r\x85\udcff") == "\\x1b\\u202e\\n\\t\\r\\x85\\xff"
    assert escaped_message("a: x\nerror: y\n\x1bz") == "a: x\n  error: y\n  \\x1bz"


@every_evil
def test_errors_of_commands(evil, capsys):
    def fail(args):
        raise InputError(f"list: {evil}\nerror: all is well")

    class Arguments:
        run = fail

    assert run(Arguments) == 2
    printed = capsys.readouterr().err
    assert harmless(printed) and printed.startswith("error: list: ") and printed.count("\nerror") == 0


@every_evil
def test_logs_of_commands(evil, capsys):
    class Arguments:
        run = staticmethod(lambda args: log.warning("skipped %s: %s", f"a{evil}", "bad"))

    assert run(Arguments) == 0
    printed = capsys.readouterr().err
    assert harmless(printed) and printed.startswith("skipped a") and printed.endswith(": bad\n")
    assert all(line[:1] in "s " for line in printed.splitlines())


def test_a_name_cannot_look_like_a_line_of_the_log(capsys):
    class Arguments:
        run = staticmethod(lambda args: log.warning("skipped %s", "a\n12:00:00 update 9/9  saved"))

    run(Arguments)
    assert capsys.readouterr().err == "skipped a\n  12:00:00 update 9/9  saved\n"


@every_evil
def test_tables_and_files(evil, tmp_path):
    result = Result("ifrt", f"d{evil}", f"m{evil}", {f"g{evil}": {"tar": 0.5}}, groups={f"g{evil}": {f"f{evil}": 0.5}})
    for text in (table([result]), results_csv([result]), report([result])):
        assert harmless(text) and "m\\" in text.replace("\\\\", "\\")
    assert len(table([result]).splitlines()) in (2, 3) and len(results_csv([result]).splitlines()) == 2
    write_reasons(str(tmp_path / "skipped.txt"), [(f"n{evil}", f"r{evil}")])
    written = (tmp_path / "skipped.txt").read_text()
    assert harmless(written.replace("\t", "")) and len(written.splitlines()) == 1
    assert harmless(Labels.of([evil]).text(f"m{evil}", 80))


def test_tags_of_tensorboard(tmp_path, caplog):
    with TensorBoard(str(tmp_path), 0) as board:
        board.add(1, {f"accuracy/{evil}": 0.5 for evil in (*EVIL, "good")})
    tags = read_by_tensorboard(tmp_path)
    assert "accuracy/good" in tags and len(tags) > 20 and all(map(harmless, tags))
    assert all(harmless(record.getMessage()) for record in caplog.records)  # mxboard's, of what it replaces


@every_evil
def test_what_other_hosts_say(evil, capsys):
    print_lines(lines(Finding("ssh", TROUBLE, f"x{evil}y\nok  MXNet", f"try{evil}")))
    printed = capsys.readouterr().out
    assert harmless(printed) and all(line.startswith("  ") for line in printed.splitlines())


def test_the_last_words_of_a_rank(capfd, monkeypatch):
    monkeypatch.setattr(watch.os, "_exit", lambda status: None)
    watch._end("rank 1 (b): \x1b[2J\nstopped: x", 75)
    assert capfd.readouterr().err == "error: rank 1 (b): \\x1b[2J\n  stopped: x\n"


def test_skipped_images(tmp_path):
    folder = tmp_path / "faces" / "Ann"
    folder.mkdir(parents=True)
    (folder / "a\x1b[2J\nb.jpg").write_bytes(b"no image")
    with pytest.raises(InputError):
        pack(str(tmp_path / "faces"), str(tmp_path / "out"))
    first, second = (tmp_path / "out" / "skipped.txt").read_text().splitlines()
    assert first.startswith("Ann/a\\x1b[2J\\nb.jpg\t") and second.startswith("Ann\t")


@for_each(
    "text",
    [
        "=1+1",
        "+1+1",
        "-1+1",
        "@SUM(A1)",
        "=cmd|' /C calc'!A0",
        " =1",
        "\uff1d1",
        "-",
        "-2+3+cmd|' /C calc'!D2",
        "\t=1",
        "\r=1",
    ],
)
def test_formulas_are_texts_in_a_spreadsheet(text):
    cell = csv_cell(text)
    assert cell[0] == "'" and cell[1:] == escaped(text)
    result = Result("ifrt", text, text, {text: {"tar": -0.5}})
    header, row = csv.reader(io.StringIO(results_csv([result])))
    assert row[1:3] == [cell, cell] and row[3] == "-0.5" and header[3][0] == "'"


@for_each("value", [-0.5, -3, "-0.5", "+1e-4", "-12", "a-b", "1=1", None, True, "a@b", ""])
def test_numbers_and_other_texts_stay(value):
    assert csv_cell(value) == value


@for_each(
    "name, shown",
    [
        ("a|b", "a\\|b"),
        ("`x`", "\\`x\\`"),
        ("[a](javascript:x)", "\\[a\\](javascript:x)"),
        ("<script>", "\\<script\\>"),
        ("&#60;", "\\&\\#60;"),
        ("*a*", "\\*a\\*"),
        ("_a_", "\\_a\\_"),
        ("r50_a", "r50_a"),
        ("![a](b)", "\\!\\[a\\](b)"),
        ("http://a.b", "http\\://a.b"),
        ("www.a.b", "www\\.a.b"),
        ("a@b.c", "a\\@b.c"),
        ("a\\|b", "a\\\\\\|b"),
    ],
)
def test_names_show_in_markdown_as_they_are(name, shown):
    text = report([Result("verification", name, name, {"auc": 0.5})], "/", [f"/{name.replace('/', '')}.png"])
    assert f"## verification: {shown}\n" in text and f"\n| {shown} | 50.00 |\n" in text
    target = text.rpartition("](")[2]
    assert target.endswith(".png)\n") and not set(target[:-2]) & set("()<>[]| `")


def test_other_encodings(monkeypatch):
    file = io.TextIOWrapper(io.BytesIO(), "ascii", newline="\n")
    print_lines(["\u674e\x1b"], file)
    monkeypatch.setattr(sys, "stderr", file)
    print_message("error: \u674e\nx")
    assert file.buffer.getvalue() == b"\\u674e\\x1b\nerror: \\u674e\n  x\n"
