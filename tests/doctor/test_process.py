"""Programs that are missing, fail or do not end."""

import os
import sys
import time

import pytest

from partial_fc.doctor.process import run


def test_output_of_a_program_that_is_well():
    assert run(["bash", "-c", "echo out; echo err >&2"], 20) == (None, "out\n", "err\n")


@pytest.mark.parametrize(
    "command, problem",
    [
        (["nosuchprogram"], "nosuchprogram: not on PATH"),
        (["/etc/passwd"], "/etc/passwd: Permission denied"),
        (["bash", "-c", "echo first >&2; echo 'last words' >&2; exit 3"], "last words"),
        (["bash", "-c", "exit 3"], "ended with status 3"),
        (["bash", "-c", "kill -SEGV $$"], "ended by SIGSEGV"),
    ],
)
def test_problem(command, problem):
    assert run(command, 20).problem == problem


def test_program_has_no_terminal_to_ask_on():
    code = "import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()))"
    assert run([sys.executable, "-c", code], 20).output == "True ''\n"


def test_program_that_does_not_end_is_ended_with_its_children(tmp_path):
    start = time.monotonic()
    script = f"echo begun; sleep 60 & echo $! >{tmp_path}/child; wait"
    outcome = run(["bash", "-c", script], 1)
    assert outcome[:2] == ("no answer within 1 s", "begun\n") and time.monotonic() - start < 20
    assert not running(int((tmp_path / "child").read_text()))


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(self, timeout=None):
        monkeypatch.undo()
        while not os.path.exists(tmp_path / "pid"):
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.Popen.communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(["bash", "-c", f"echo $$ >{tmp_path}/part; mv {tmp_path}/part {tmp_path}/pid; sleep 60"], 60)
    assert not running(int((tmp_path / "pid").read_text()))
