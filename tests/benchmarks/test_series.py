"""Series of trainings: what is kept, and what a rerun does."""

import argparse
import json
import subprocess
import sys

import pytest

from benchmarks import series
from benchmarks.series import add_arguments, mean_of, run_series, shown

WANTED = [dict(data="a", seed=seed) for seed in range(3)]


def options(*arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_a_rerun_does_what_is_left_and_keeps_the_rest(tmp_path):
    done, path = [], tmp_path / "series.json"

    def measure(case):
        done.append(case["seed"])
        if len(done) == 3:
            raise RuntimeError("cut off")
        return dict(accuracy=case["seed"] / 4)

    assert [case["seed"] for case in run_series(WANTED, measure, str(path), 1)] == [0]
    with pytest.raises(RuntimeError):
        run_series(WANTED, measure, str(path))
    assert done == [0, 1, 2] and len(json.loads(path.read_text())["cases"]) == 2
    assert run_series(WANTED, measure, str(path))[2] == dict(data="a", seed=2, accuracy=0.5)
    assert done == [0, 1, 2, 2]
    assert len(run_series(WANTED, measure, str(path), 0)) == 3
    other = dict(data="b", seed=0)
    assert run_series([other], measure, str(path)) == [dict(other, accuracy=0)]
    assert len(json.loads(path.read_text())["cases"]) == 4  # of a part of the data, the rest stays


def test_mean_and_deviation():
    cases = [dict(accuracy=0.8), dict(accuracy=0.82), dict(accuracy=0.84)]
    assert shown(cases) == "82.0% ± 2.0 (3)" and shown(cases[:1]) == "80.0% (1)" and shown([]) == ""
    assert mean_of([]) is None and mean_of(cases) == pytest.approx(0.82)


def test_memory_is_that_of_the_training(monkeypatch):
    monkeypatch.setattr(series, "in_own_process", lambda function, *arguments: function(*arguments))
    rank = [sys.executable, "-c", "bytearray(300 * 2**20)"]
    monkeypatch.setattr(series, "train", lambda *arguments, command: subprocess.run(command) and dict(SUMMARY, a=1))
    found = series.measured_training("records", "root", ["a=b"], 0.1, 3, command=rank)
    assert found == {**SUMMARY, "memory": found["memory"]} and found["memory"] > 300


SUMMARY = dict(accuracy=0.9, train_seconds=3.0, images_per_second=9.0, num_classes=5, updates=2, last_loss=1.0)
