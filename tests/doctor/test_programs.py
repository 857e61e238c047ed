"""Programs that are missing, fail or do not end."""

import subprocess
import sys
import time

import pytest

from partial_fc.doctor.programs import run


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


def test_program_that_does_not_end_in_time():
    start = time.monotonic()
    assert run(["sleep", "60"], 0.2).problem == "no answer within 0.2 s" and time.monotonic() - start < 20


def test_program_that_does_not_end_is_ended_with_its_children(tmp_path, monkeypatch):
    def late(self, timeout=None):
        monkeypatch.undo()
        wait_for((tmp_path / "child").exists)
        raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr("subprocess.Popen.communicate", late)
    script = f"echo begun; sleep 60 & echo $! >{tmp_path}/part; mv {tmp_path}/part {tmp_path}/child; wait"
    assert run(["bash", "-c", script], 1)[:2] == ("no answer within 1 s", "begun\n")
    wait_for(lambda: not running(int((tmp_path / "child").read_text())))


def wait_for(condition):
    """Wait for a condition, 20 s at most."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(self, timeout=None):
        monkeypatch.undo()
        wait_for((tmp_path / "pid").exists)
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.Popen.communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(["bash", "-c", f"echo $$ >{tmp_path}/part; mv {tmp_path}/part {tmp_path}/pid; sleep 60"], 60)
    wait_for(lambda: not running(int((tmp_path / "pid").read_text())))
