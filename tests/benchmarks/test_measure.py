"""What measurements on ranks share; real ranks run this file, too."""

import json
import os
import subprocess

import mxnet as mx
import pytest

from benchmarks.measure import interleave, machine, on_ranks, print_table, spread, work, write_json
from partial_fc.distributed.collectives import Communicator, connect


@pytest.mark.parametrize("launcher", ["MPI", "Gloo"])
def test_ranks_get_the_arguments_and_the_environment_of_config_sh(launcher, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("HOROVOD_CACHE_CAPACITY", raising=False)
    results = on_ranks("tests.benchmarks.test_measure", {"text": "a 'b' $c"}, launcher, ranks=2)
    assert results == [[number, launcher, "1", "4096", {"text": "a 'b' $c"}] for number in range(2)]


def test_a_rank_that_fails_is_an_error():
    with pytest.raises(subprocess.CalledProcessError):
        on_ranks("tests.benchmarks.test_measure", None)


def rank(comm, arguments):
    """What every rank was given; without arguments, rank 1 fails."""
    if arguments is None and comm.rank == 1:
        raise SystemExit("as it should")
    given = [os.environ[name] for name in ("OMP_NUM_THREADS", "HOROVOD_CACHE_CAPACITY")]
    return comm.all_gather_object([comm.rank, comm.transport, *given, arguments])


class TwoRanks(Communicator):
    """The other rank always takes 1000 s."""

    world_size = 2

    def all_gather_object(self, value):
        return [value, value and 1000.0]


def test_calls_take_turns_with_the_same_arguments_after_two_rounds_of_warm_up(capsys):
    log = []
    calls = {name: lambda number, name=name: log.append((name, number)) for name in ("a", "b")}
    seconds = interleave(TwoRanks(), calls, 3, lambda number: (number,), title="case")
    assert log == [(name, number) for number in range(5) for name in ("a", "b")]
    assert seconds == {"a": [1000.0] * 3, "b": [1000.0] * 3}
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"case: round {number}/5: a 1000.000 s, b 1000.000 s" for number in range(1, 6)]


def test_a_time_includes_what_the_call_started(monkeypatch):
    log = []
    monkeypatch.setattr(mx.nd, "waitall", lambda: log.append("waitall"))
    monkeypatch.setattr("time.perf_counter", lambda: log.append("clock") or len(log))
    interleave(Communicator(), {"call": lambda: log.append("call")}, 1)
    assert log == ["waitall", "clock", "call", "waitall", "clock"] * 3


def test_other_ranks_are_silent_about_progress(capsys):
    comm = Communicator()
    comm.rank = 1
    interleave(comm, {"a": lambda: None}, 1, title="case")
    assert capsys.readouterr().err == ""


def test_spread():
    assert spread("ms", [3.0, 1.0, 2.0, 9.0]) == {"ms": 2.5, "ms_min": 1.0, "ms_max": 9.0}


def test_json_has_the_machine_and_the_cases(tmp_path):
    write_json(tmp_path / "out.json", [{"ms": 1}])
    written = json.loads((tmp_path / "out.json").read_text())
    assert written == {"machine": machine(), "cases": [{"ms": 1}]}
    assert set(machine()) == {"cpu", "cores", "memory_gib", "python", "mxnet", "horovod"} and machine()["cpu"]


def test_a_write_that_fails_leaves_the_earlier_results(tmp_path):
    write_json(tmp_path / "out.json", [{"ms": 1}])
    with pytest.raises(TypeError):
        write_json(tmp_path / "out.json", [{"ms": object()}])
    assert json.loads((tmp_path / "out.json").read_text())["cases"] == [{"ms": 1}]


def test_table(capsys):
    print_table(["a", "b"], [["1", "2"], ["3", "4"]])
    assert capsys.readouterr().out == "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n"


if __name__ == "__main__":
    work(connect(), rank)
