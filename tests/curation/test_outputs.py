"""Findings are written one by one: what is written, and the memory that it takes."""

import argparse
import csv
import io
import json
import tracemalloc

import numpy as np
import pytest

from partial_fc.cli.curation import write_findings
from partial_fc.curation.conflicts import Conflicts, conflicts_outputs
from partial_fc.curation.nearest import Pairs
from partial_fc.curation.outputs import json_lines
from partial_fc.output import printable

NUM_PAIRS = 8_000


@pytest.mark.parametrize("items", [[], [1], [{"a": "\u202e", "b": 0.5}, {}, None]])
def test_json_lines(items):
    facts = {"name": '"x"', "items": iter(items), "list": items, "last": iter(items)}
    lines = list(json_lines(facts))
    assert json.loads("\n".join(lines)) == {"name": '"x"', "items": items, "list": items, "last": items}
    assert len(lines) == 8 + 2 * len(items)  # two brackets, two lines, two lists of two lines and their items


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_many_lines_are_printed_some_at_a_time(count, monkeypatch):
    monkeypatch.setattr(printable, "_AT_ONCE", 3)
    file, lines = io.StringIO(), [f"line {number}\x1b" for number in range(count)]
    printable.print_lines(iter(lines), file)
    assert file.getvalue() == "".join(f"line {number}\\x1b\n" for number in range(count))


@pytest.fixture
def conflicts():
    """Each class 2 n is close to the class 2 n + 1."""
    first = np.arange(0, 2 * NUM_PAIRS, 2)
    pairs = Pairs(first, first + 1, np.linspace(1, 0.5, NUM_PAIRS).astype(np.float32))
    nearest = Pairs(np.arange(2 * NUM_PAIRS), np.arange(2 * NUM_PAIRS) ^ 1, np.repeat(pairs.cosine, 2))
    clusters = np.split(np.arange(2 * NUM_PAIRS), NUM_PAIRS)
    return Conflicts("centers", np.arange(2 * NUM_PAIRS), 0.5, None, pairs, clusters, nearest)


def test_memory_does_not_grow_with_what_is_written(conflicts, tmp_path, capsys, monkeypatch):
    """A list of the values of all pairs or clusters takes 2 MiB at least."""
    monkeypatch.setattr("partial_fc.curation.nearest._AT_ONCE", 500)
    paths = {name: str(tmp_path / name) for name in ("json", "csv")}
    args = argparse.Namespace(**paths, pictures=None, overwrite=False)
    write_findings(args, conflicts_outputs(conflicts), [])  # which imports what is needed
    capsys.readouterr()
    tracemalloc.start()
    try:
        write_findings(args, conflicts_outputs(conflicts), [])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    found = json.loads((tmp_path / "json").read_text())
    assert len(found["pairs"]) == len(found["clusters"]) == NUM_PAIRS
    assert found["pairs"][7] == {"first": 14, "second": 15, "cosine": pytest.approx(0.999562, abs=1e-6)}
    with open(paths["csv"], newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * NUM_PAIRS
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + 50 + 1 and printed[-1].startswith("  and 7,950 more; --json FILE")
    assert peak < 2**19


def test_nothing_is_made_that_is_not_written(conflicts, monkeypatch, capsys):
    """Neither values for JSON nor rows of the table; lines of text only for what is printed."""
    made = []
    members = Conflicts.members
    monkeypatch.setattr(Conflicts, "members", lambda self, classes: made.append(1) or members(self, classes))
    args = argparse.Namespace(json=None, csv=None, pictures=None, overwrite=False)
    write_findings(args, conflicts_outputs(conflicts), [])
    assert len(made) == 50
