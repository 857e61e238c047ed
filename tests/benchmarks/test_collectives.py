"""The benchmark of the collectives; real ranks run this file, too."""

import json

import mxnet as mx

from benchmarks import collectives
from benchmarks.collectives_worker import calls, gather_by_sum
from benchmarks.measure import on_ranks, work
from partial_fc.distributed.collectives import connect


def test_measures_and_prints(tmp_path, capsys):
    assert collectives.main(["--runs", "1", "--json", str(tmp_path / "out.json")]) == 0
    cases = json.loads((tmp_path / "out.json").read_text())["cases"]
    assert [case["launcher"] for case in cases] == ["MPI"] * 6 + ["Gloo"] * 6
    assert all(case["ms"] > 0 for case in cases)
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header == "| collective | bytes | MPI ms | Gloo ms |" and len(rows) == 6
    assert rows[0].startswith(f"| all-gather of embeddings | 2,097,152 | {cases[0]['ms']:.2f} | {cases[6]['ms']:.2f} |")


def test_what_is_compared_gathers_the_same_and_counts_all_ranks():
    gathered, summed, sizes = on_ranks("tests.benchmarks.test_collectives", None)
    assert gathered == summed == [[0, 0], [0, 0], [1, 1], [1, 1]]
    assert sizes == [2**21, 2**21, 2**21, 2**21, 2**14, 2**13]


def rank(comm, arguments):
    """Both gathers of the rank's number, and the bytes of every collective."""
    array = mx.nd.full((2, 2), comm.rank)
    gathers = comm.all_gather(array, name="gather"), gather_by_sum(comm, array)
    return [gathered.asnumpy().tolist() for gathered in gathers] + [[size for _, size in calls(comm).values()]]


if __name__ == "__main__":
    work(connect(), rank)
