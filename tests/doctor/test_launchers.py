"""Ranks that the doctor starts: real ones, and launchers that fail."""

import json

import pytest

from partial_fc.doctor import collective, launchers
from partial_fc.doctor.checklist import OK, TROUBLE, WARNING
from partial_fc.doctor.launchers import check_ranks

RESULT = dict(
    transport="MPI",
    device="cpu",
    hosts=["a", "a"],
    right=True,
    latency_ms=0.5,
    gb_s=dict(all_gather=2.0, reduce_scatter=1.5, all_reduce=1.0),
)
TELL = f"echo '[1,0]<stdout>:{collective.MARK} %s'"


def test_two_real_ranks_under_each_launcher():
    findings = list(check_ranks())
    assert [finding.topic for finding in findings] == ["2 x MPI", "2 x Gloo"]
    for finding in findings:
        assert finding.status in (OK, WARNING), finding  # a busy machine may be slow
        assert finding.message.startswith("2 ranks on 1 host, ") and "all-reduce" in finding.message


def test_mark_is_that_of_the_ranks():
    assert launchers._MARK == collective.MARK


@pytest.mark.parametrize(
    "change, status, message",
    [
        ({}, OK, "2 ranks on 1 host, CPU arrays: all-gather 2.00, reduce-scatter 1.50, all-reduce 1.00 GB/s; 0.5 ms"),
        (dict(hosts=["a", "b"], device="gpu"), OK, "2 ranks on 2 hosts, GPU arrays"),
        (dict(right=False), TROUBLE, "wrong sums"),
        (dict(gb_s=dict(RESULT["gb_s"], all_reduce=0.01)), WARNING, "all-reduce 0.01"),
    ],
)
def test_what_the_ranks_tell(change, status, message, program):
    for launcher in ("mpirun", "horovodrun"):
        program(launcher, TELL % json.dumps({**RESULT, **change}))
    for finding in check_ranks():
        assert finding.status == status and message in finding.message and bool(finding.advice) == (status != OK)


@pytest.mark.parametrize(
    "script, problem",
    [
        ("echo 'no route to host' >&2; exit 1", "no route to host"),
        ("echo nothing", "the ranks reported nothing"),
        ("echo waiting; sleep 60", "no answer within 1 s"),
    ],
)
def test_launchers_that_fail(script, problem, program, monkeypatch):
    monkeypatch.setattr(launchers, "TIMEOUT", 1 if "sleep" in script else 60)
    for launcher in ("mpirun", "horovodrun"):
        program(launcher, script)
    for finding in check_ranks(["a", "b"]):
        assert finding.status == TROUBLE and problem in finding.message and "NCCL_SOCKET_IFNAME" in finding.advice


@pytest.mark.parametrize(
    "hosts, count, where", [([], "2", None), (["a"], "2", "a:2"), (["a", "b", "c"], "3", "a:1,b:1,c:1")]
)
def test_one_rank_a_host_but_two_at_least(hosts, count, where, program, tmp_path):
    program("mpirun", f'printf "%s\\n" "$@" >{tmp_path}/arguments; exit 1')
    next(check_ranks(hosts))
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[arguments.index("-np") + 1] == count
    assert arguments[arguments.index("-H") + 1] == where if where else "-H" not in arguments
