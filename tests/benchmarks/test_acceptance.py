"""The acceptance of GPUs, on the CPU: every check runs on real ranks, and one that fails says so."""

import mxnet as mx
import numpy as np
import pytest

from benchmarks import acceptance, acceptance_precision
from benchmarks.acceptance_worker import _error, _problems, case
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.training.loss_scale import LossScale

from helpers.shards import Shards


def test_all_checks_pass_on_the_cpu(capsys):
    assert acceptance.main(["--device", "cpu", "--runs", "1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " x " in line]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    checks = {(ranks, check) for ranks, check, *_ in rows}
    for world_size in (1, 2, 3, 5):
        assert ("1 x MPI", f"head, {world_size} in one process, centers on the host: error") in checks
    for ranks in ("2 x MPI", "2 x Gloo"):
        for check in ("head, centers on the device: error", "model, two updates: error", "collectives: wrong values"):
            assert (ranks, check) in checks
    for precision in ("float32", "bfloat16"):
        assert ("2 x MPI", f"memory in {precision}, used / planned") in checks
        assert ("2 x MPI", f"training in {precision}, demo, 20,000 classes") in checks
    for check in ("head in bfloat16: error", "overflow in bfloat16: not skipped as it must be"):
        assert ("2 x MPI", check) in checks
    assert [row[4] for row in rows if row[3]] == ["passed"] * 22
    assert all(float(row[2].split()[0]) > 0 for row in rows if not row[3])


def test_wrong_gradient_fails(monkeypatch):
    (problem, margin, step), *_ = _problems(2, mx.cpu(), MemoryBank)
    parts = Shards(2).run(step)
    assert 0 < _error(problem, margin, parts) < 1
    parts[1][1][0, 0] *= 1.001
    assert _error(problem, margin, parts) > 1


def test_float32_has_no_error_of_low_precision():
    assert max(acceptance_precision.backbone_errors(mx.cpu(), "float32")) < 1e-5


def test_an_overflow_that_does_not_lower_the_scale_is_found(monkeypatch):
    failures = lambda: Shards(2).run(lambda comm: acceptance_precision.skipping_failures(comm, mx.cpu(), "bfloat16"))  # noqa: E731
    assert failures() == [0, 0]
    monkeypatch.setattr(LossScale, "next", lambda self, finite: False)
    assert failures() == [2, 2]


@pytest.mark.parametrize("value, limit, passed", [(1, 1, True), (1.5, 1, False), (np.nan, 1, False), (3, None, None)])
def test_verdict(value, limit, passed):
    assert case("check", value, limit)["passed"] is passed


def test_status_if_a_check_fails_or_ranks_end(monkeypatch, capsys):
    monkeypatch.setattr(acceptance, "_WORKER", "no.such.module")
    assert acceptance.main(["--device", "cpu"]) == 1
    printed = capsys.readouterr().out
    assert "| 2 x Gloo | ranks: ranks ended | 1 | <= 0 | FAILED |" in printed and "8 of 8 checks failed." in printed


def test_no_gpu(capsys):
    if mx.runtime.Features().is_enabled("CUDA"):
        pytest.skip("this MXNet may see one")
    assert acceptance.main(["--device", "gpu"]) == 2
    assert "MXNet sees no GPU" in capsys.readouterr().err
