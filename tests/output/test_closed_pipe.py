import logging
import os
import subprocess
import sys

import pytest

from partial_fc.output.closed_pipe import quiet_pipe
from partial_fc.output.log import Console

from helpers.paths import SRC

WRITES = """
import sys
from partial_fc.output.closed_pipe import quiet_pipe
@quiet_pipe
def main():
    {}
sys.exit(main())
"""


def unread(*arguments):
    """Exit status and error output of a Python whose output is a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    # unbuffered, argparse itself passes over the pipe when it prints its help
    environment = {**os.environ, "PYTHONPATH": SRC, "PYTHONUNBUFFERED": ""}
    process = subprocess.run(
        [sys.executable, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True, env=environment, timeout=60
    )
    os.close(writer)
    return process.returncode, process.stderr


@pytest.mark.parametrize(
    "written",
    [
        'print("one line")',
        'print("x" * 10**6)',
        'print("one line", flush=True)',
        "print(1); raise SystemExit(0)",
        "print(1); return 3",
    ],
)
def test_a_command_ends_quietly(written):
    assert unread("-c", WRITES.format(written)) == (141, "")


@pytest.mark.parametrize("command", [["--help"], ["data", "check", "--help"]])
def test_output_on_a_full_disk_and_closed_output(command):
    """`/dev/full` is such a file; a shell closes the output with `>&-`."""
    program = [sys.executable, "-m", "partial_fc", *command]
    environment = {**os.environ, "PYTHONPATH": SRC}
    with open("/dev/full", "w") as full:
        process = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, timeout=60)
    assert (process.returncode, process.stderr) == (75, "error: [Errno 28] No space left on device\n")
    closed = ["sh", "-c", '"$@" >&-', "sh", *program]
    process = subprocess.run(closed, stderr=subprocess.PIPE, text=True, env=environment, timeout=60)
    assert (process.returncode, process.stderr) == (0, "")


def test_status_of_a_command_that_is_read():
    assert quiet_pipe(lambda: 3)() == 3
    with pytest.raises(ZeroDivisionError):
        quiet_pipe(lambda: 1 // 0)()


@pytest.mark.parametrize("command", ["", "data", "data info", "eval", "centers", "doctor", "train", "report"])
def test_every_family_of_commands(command):
    assert unread("-m", "partial_fc", *command.split(), "--help") == (141, "")


def test_a_log_that_nobody_reads_stops_nothing(capfd, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    log = logging.Logger("unread")
    with os.fdopen(writer, "w", buffering=1) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        log.addHandler(Console("stdout"))
        log.info("update 1")
        log.info("update %d", "wrong")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
    printed = capfd.readouterr().err
    assert "TypeError" in printed and "BrokenPipe" not in printed
