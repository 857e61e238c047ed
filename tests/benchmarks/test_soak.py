"""The soak: a short run under each launcher, a rank that stops, and what counts as growth."""

import json

import psutil
import pytest

from benchmarks import soak
from benchmarks.soak_watch import Sample, Watch, summarize


def test_short_runs_pass(tmp_path, capsys):
    assert soak.main(["--updates", "300", "--json", str(tmp_path / "out.json")]) == 0
    cases = json.loads((tmp_path / "out.json").read_text())["cases"]
    assert [(case["launcher"], case["rank"]) for case in cases] == [("MPI", 0), ("MPI", 1), ("Gloo", 0), ("Gloo", 1)]
    for case in cases:
        assert case["updates"] == 300 and case["fault"] is None and case["files_end"] > 3
        assert case["rss_mb_end"] > 50 and case["updates_per_second"] > 0
    assert capsys.readouterr().out.count("passed") == 4


def test_rank_that_stops_is_a_hang_and_all_are_ended(monkeypatch, capsys):
    stopped = []

    def stop(self):
        read(self)
        if stopped:
            self.moved -= 100  # three readings without an update are enough
        ranks = dict(self._ranks())
        if self.num_update and not stopped and len(ranks) == 2:
            stopped.extend(ranks.values())
            ranks[1].suspend()

    read = Watch.read
    monkeypatch.setattr(Watch, "read", stop)
    assert soak.main(["--updates", "1000000", "--launchers", "Gloo"]) == 1
    assert "hung after update" in capsys.readouterr().out
    _, alive = psutil.wait_procs(stopped, timeout=20)
    assert len(stopped) == 2 and not alive


def case_of(samples, fault=None):
    watch = Watch.__new__(Watch)
    watch.samples, watch.num_update, watch.moved, watch.first = {0: samples}, 1000, 11.0, (1.0, 0)
    (case,) = summarize(watch, fault)
    return case


@pytest.mark.parametrize(
    "grow, fault",
    [
        (lambda i: Sample(i, 200.0, 20, 10), None),
        (lambda i: Sample(i, 200.0, 20 + i % 3, 10 + i % 2), None),
        (lambda i: Sample(i, 200.0 + 0.1 * i, 20, 10), "rss_mb grew"),
        (lambda i: Sample(i, 200.0, 20 + i // 50, 10 + i // 50), "files and threads grew"),
    ],
)
def test_growth(grow, fault):
    case = case_of([grow(i) for i in range(1000)])
    assert case["fault"] == fault and case["updates_per_second"] == 100
    assert case["rss_mb_slope"] == pytest.approx(1e4 if fault == "rss_mb grew" else 0, abs=1e-6)


def test_fault_of_the_run_is_that_of_every_rank():
    assert case_of([Sample(1, 200.0, 20, 10)], "hung after update 1")["fault"] == "hung after update 1"
    watch = Watch.__new__(Watch)
    watch.samples, watch.num_update = {}, 0
    assert summarize(watch, "ended with status 1")[0]["fault"] == "ended with status 1"
    assert summarize(watch, None)[0]["fault"] == "ended before a reading"
