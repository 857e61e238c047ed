"""One rank of a real run fails: the run ends soon, on every rank, and its last line names the cause."""

import re

import pytest

from benchmarks.failures import INJECT, KINDS, LAUNCHERS, SHORT, arguments, fail

from helpers.ranks import run, succeed

RANK = r"error: rank 1 \(\S+\)"
LAST = {
    "killed": RANK + " died, last heard of in ",
    "segmentation fault": RANK + " died, last heard of in ",
    "out of memory": RANK + ", update 6: MemoryError",
    "exception": RANK + ", update 6: ValueError: injected",
    "full disk": RANK + r", update 6: \[Errno 28\] No space left on device: '/injected'",
    "NaN": "error: update 6: the loss is nan, the embeddings of rank 1 are not finite",
    "stalled reader": RANK + " waits for its images in update [67]: no progress for 4 s",
    "stopped": RANK + " does not answer, last heard of in (update [0-9]+|the start): no progress for 4 s",
    "late": RANK + " is busy with update 6: no progress for 4 s",
}


@pytest.mark.parametrize(
    "kind, launcher",
    [
        ("killed", "run.sh"),
        ("killed", "horovodrun --mpi"),
        ("killed", "horovodrun --gloo"),
        ("out of memory", "run.sh"),
        ("exception", "horovodrun --gloo"),
        ("NaN", "horovodrun --gloo"),
        ("stalled reader", "run.sh"),
        ("stalled reader", "horovodrun --gloo"),
        ("stopped", "run.sh"),
    ],
)  # python -m benchmarks.failures tries them all
def test_a_failure_ends_the_run_and_is_named_last(kind, launcher, tmp_path):
    case = fail(kind, launcher, str(tmp_path), **SHORT)
    assert re.match(LAST[kind], case["last"]), case["output"]
    assert case["status"] and case["seconds"] < 60 and not case["left"]
    assert launcher != "run.sh" or not (tmp_path / "models" / ".lock").exists()  # rank 0 has ended by itself


def test_restarts_go_on_from_the_last_checkpoint(tmp_path):
    losses = []
    for name, options in (("whole", []), ("killed", ["--restarts", "1"])):
        (tmp_path / name).mkdir()
        inject = dict(PYTHONPATH=INJECT, INJECT="killed,1,7", INJECT_ONCE=f"{tmp_path}/once") if options else {}
        settings = arguments(f"{tmp_path}/{name}", max_update=10, save_interval=3)
        output = succeed(run([*LAUNCHERS["run.sh"][:-1], *options, "--", *settings], cwd=tmp_path, **inject))
        losses.append((tmp_path / name / "models" / "losses.csv").read_text())
    assert re.search(r"error: rank 1 \(.*\nstarting again from the last checkpoint; restarts left: 0", output), output
    assert "continuing from update 6" in output and losses[0] == losses[1]


def test_each_kind_has_its_message():
    assert set(LAST) == set(KINDS)
