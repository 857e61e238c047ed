"""The commands of docs/planning.md run as they are printed, and print the tables and sentences below them."""

import dataclasses
import json
import os
import shlex

import pytest

from benchmarks.plan import main as published
from partial_fc.cli.main import main
from partial_fc.planning.cards import CARDS

from helpers.documents import documents, lines_of


def below(line):
    """Lines of the page from a command to the next one."""
    (page,) = (text for name, text in documents() if name == os.path.join("docs", "planning.md"))
    lines = [each.strip() for each in page.splitlines()]
    first = lines.index(line) + 1
    commands = [
        place for place, each in enumerate(lines) if place > first and each.startswith(("partial-fc", "python"))
    ]
    return lines[first : commands[0] if commands else None]


def rows(lines):
    return [line for line in lines if line.startswith("|")]


def output_of(line, capsys):
    assert main(shlex.split(line)[1:]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder for the plots, and a file of this machine as it is measured with two ranks."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "machine.json").write_text(json.dumps([dict(dataclasses.asdict(CARDS["cpu"]), ranks=2)]))
    monkeypatch.setenv("PARTIAL_FC_MACHINE", str(tmp_path / "machine.json"))


@pytest.mark.parametrize("line", lines_of("plan"))
def test_it_prints_what_the_page_shows(line, capsys):
    printed, page = output_of(line, capsys), below(line)
    if "--sweep" in line:
        assert f"Assumed: {' '.join(printed[:2])}." in page
        assert os.path.getsize(shlex.split(line)[-1]) > 10**4
        sentences = [each for each in printed[2:] if each[0] != "|"]
        assert rows(printed) == rows(page) and len(rows(page)) > 5
        assert [f"- {each}" for each in sentences] == [each for each in page if each.startswith("- ")]
    elif "--fit" in line:
        assert printed[2:] == page[page.index("```") + 1 : page.index("```") + len(printed) - 1]
    else:
        assert any(" images per second, bound by " in each for each in printed)


def test_published_tables_are_those_that_the_program_prints(capsys):
    assert published([]) == 0
    printed, page = capsys.readouterr().out.splitlines(), below("python -m benchmarks.plan")
    assert rows(printed) == rows(page) and len(rows(page)) == 33
    assert " ".join(printed[-2:]) in page
