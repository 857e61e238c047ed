"""Damaged files of every format give data or one of our errors, within bounded time and memory, and crash no process.

PARTIAL_FC_FUZZ sets the number of files, each of which is a function of its number alone:

    PARTIAL_FC_FUZZ=72000 bash tests/run.sh tests/test_fuzz.py -s
"""

import json
import os
import subprocess
import sys
import time

import pytest

from helpers.formats import FORMATS

CASES = int(os.environ.get("PARTIAL_FC_FUZZ", 2700))
AT_ONCE = 10_000  # in one process
MOST_FINDINGS = 40
WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fuzz_worker.py")


def run(folder, first, stop):
    """Try the cases [first, stop) in a process; returns its state, and the case after the last one that it tried."""
    command = [sys.executable, WORKER, str(folder), str(first), str(stop), *FORMATS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (folder / "state").exists(), done.stderr
    state = json.loads((folder / "state").read_text())
    if done.returncode:
        said = "\n".join(done.stderr.splitlines()[-12:])
        state["findings"].append(f"case {state['case']} ended with status {done.returncode}:\n{said}")
    return state, state["case"] + 1


@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_data_or_our_error(tmp_path, first):
    stop, findings, start = min(first + AT_ONCE, CASES), [], time.perf_counter()
    totals = {name: [0, 0, 0, 0.0] for name in FORMATS}
    while first < stop and len(findings) < MOST_FINDINGS:
        state, first = run(tmp_path, first, stop)
        findings += state["findings"]
        for name, counts in state["counts"].items():
            totals[name] = [total + count for total, count in zip(totals[name], counts)]
    for name, (cases, data, errors, seconds) in totals.items():
        print(f"{name:12} {cases:6,} files {data:7,} times data {errors:7,} errors {seconds:6.1f} s")
    print(f"{time.perf_counter() - start:.0f} s")
    assert not findings, "\n\n".join(findings)
    assert all(data and errors for _, data, errors, _ in totals.values())  # both happened in every format
