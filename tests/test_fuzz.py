"""Damaged files of every format give data or one of our errors, within bounded time and memory, and crash no process.

PARTIAL_FC_FUZZ sets the number of files, each of which is a function of its number alone:

    PARTIAL_FC_FUZZ=50000 bash tests/run.sh tests/test_fuzz.py -s
"""

import json
import os
import subprocess
import sys
import time

import pytest

from formats import FORMATS

CASES = int(os.environ.get("PARTIAL_FC_FUZZ", 700))
AT_ONCE = 10_000  # in one process
MOST_FINDINGS = 40
WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fuzz_worker.py")


def run(folder, first, stop):
    """Counts by format of a process that tries the cases [first, stop); what it found as (number, text), or None."""
    command = [sys.executable, WORKER, str(folder), str(first), str(stop), *FORMATS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1]), None
    number = int((folder / "case").read_text())
    name = list(FORMATS)[number % len(FORMATS)]
    said = "\n".join(done.stderr.splitlines()[-12:])
    return {}, (number, f"case {number} ({name}) ended with status {done.returncode}:\n{said}")


@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_data_or_our_error(tmp_path, first):
    stop, findings, start = min(first + AT_ONCE, CASES), [], time.perf_counter()
    totals = {name: [0, 0, 0.0] for name in FORMATS}
    while first < stop and len(findings) < MOST_FINDINGS:
        counts, found = run(tmp_path, first, stop)
        for name, numbers in counts.items():
            totals[name] = [total + number for total, number in zip(totals[name], numbers)]
        findings += [found[1]] if found else []
        first = found[0] + 1 if found else stop
    for name, (data, errors, seconds) in totals.items():
        print(f"{name:12} {data:7,} times data {errors:7,} errors {seconds:6.1f} s")
    print(f"{time.perf_counter() - start:.0f} s")
    assert not findings, "\n\n".join(findings)
    assert all(data and errors for data, errors, _ in totals.values())  # both happened in every format
