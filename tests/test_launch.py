"""Launchers are shell scripts here."""

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from partial_fc import launch
from partial_fc.distributed import hosts
from partial_fc.distributed.restarts import SERIES
from partial_fc.errors import FAILED, INTERRUPTED, PROBLEMS_FOUND, STOPPED, WRONG_INPUT, InputError
from partial_fc.launch import main

from helpers.paths import SRC


def run(script, capfd, *options):
    """Exit status and lines of the error output."""
    status = main([*options, "--", "bash", "-c", script])
    return status, capfd.readouterr().err.splitlines()


def launcher(folder, script):
    """Path of a program that runs a script."""
    path = folder / "launcher"
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)
    return str(path)


def launcher_behind_a_shell(folder, script):
    """As `launcher`; the script runs below a shell: with MPI, horovodrun becomes `/bin/sh -c "mpirun ..."`."""
    (folder / "mpirun").write_text(script)
    return launcher(folder, f"bash {folder}/mpirun; exit $?")


def test_a_good_run_is_passed_on(capfd):
    assert run("echo progress >&2", capfd) == (0, ["progress"])


def test_the_error_of_a_rank_comes_last(capfd):
    script = 'echo "[1,0]<stderr>:error: rank 1 (b), update 7: ValueError[1,1]<stderr>:" >&2; echo noise >&2; exit 75'
    status, lines = run(script, capfd)
    assert status == 75 and lines[-1] == "error: rank 1 (b), update 7: ValueError" and "noise" in lines


def test_errors_of_several_ranks_come_last(capfd):
    script = 'printf "%s\\n" "error: rank 0: x" "  rank 1: y" noise >&2; exit 2'
    assert run(script, capfd)[1][-2:] == ["error: rank 0: x", "  rank 1: y"]


def test_a_name_in_a_message_is_no_word_of_a_rank(capfd):
    """What a message has after a line break is indented, and is not looked at."""
    words = '"error: rank 0: a" "  b: error: rank 9 (evil) died" "  stopped: evil"'
    status, lines = run(f"printf '%s\\n' {words} >&2; exit 2", capfd)
    assert status == 2 and lines[-1] == "error: rank 0: a"


def test_a_launcher_without_a_word_of_a_rank(capfd):
    assert run("kill -9 $$", capfd) == (137, ["error: bash ended with status 137, see above"])


def test_a_launcher_that_does_not_end_is_ended(capfd, monkeypatch):
    """With what it has started, as horovodrun its mpirun."""
    monkeypatch.setattr(launch, "_END_TIMEOUT", 0.5)
    start = time.monotonic()
    status, lines = run('sleep 61.5 & echo "error: rank 1 (b): nothing heard" >&2; exec sleep 61.5', capfd)
    assert status == 137 and lines[-1] == "error: rank 1 (b): nothing heard" and time.monotonic() - start < 20
    wait_until(
        lambda: ["sleep", "61.5"] not in [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    )


def test_a_run_that_was_asked_to_end_is_not_started_again(capfd, tmp_path):
    script = 'printf "%s\\n" "[1,0]<stderr>:stopped: update 5: asked to end" noise >&2; exit 1'
    assert main(["--restarts", "2", "--", launcher(tmp_path, script), "bash", "config.sh"]) == 143
    assert capfd.readouterr().err.splitlines() == ["noise", "stopped: update 5: asked to end"]  # once, and last


def test_a_good_run_may_say_that_it_was_stopped(capfd):
    assert run('echo "stopped: early" >&2', capfd) == (0, ["stopped: early"])


@pytest.mark.parametrize("status, starts", [(75, 3), (1, 3), (2, 1), (143, 1), (0, 1)])
def test_restarts(status, starts, capfd, tmp_path):
    command = [launcher(tmp_path, f'echo "$*" >>{tmp_path}/starts; exit {status}'), "bash", "config.sh"]
    command += ["--models-root", f"{tmp_path}/models"]
    assert main(["--restarts", "2", "--", *command]) == status
    lines = (tmp_path / "starts").read_text().splitlines()
    named = rf"env {SERIES}=[0-9a-f]{{32}} bash config.sh --models-root {tmp_path}/models"
    assert len(lines) == starts and len(set(lines)) == 1 and re.fullmatch(named, lines[0])
    assert ("starting again" in capfd.readouterr().err) == (starts > 1)


def test_restarts_of_another_program_are_refused(capfd, tmp_path):
    assert main(["--restarts", "2", "--", launcher(tmp_path, "exit 1"), "python", "loop.py"]) == 2
    assert capfd.readouterr().err.startswith("error: --restarts: only `bash config.sh` can continue")


def table_of_statuses():
    """(exit status, whether the run is started again) of the rows in docs/reliability.md."""
    with open(os.path.join(os.path.dirname(SRC), "docs", "reliability.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| (\d+) \| .* \| (yes|no) \|$", file.read(), re.MULTILINE)
    return [(int(status), again == "yes") for status, again in rows]


@pytest.mark.parametrize("status, again", table_of_statuses())
def test_restarts_are_as_the_table_of_exit_statuses_says(status, again, capfd, tmp_path):
    command = [launcher(tmp_path, f"echo >>{tmp_path}/starts; exit {status}"), "bash", "config.sh"]
    assert main(["--restarts", "1", "--", *command, "--models-root", f"{tmp_path}/models"]) == status
    assert len((tmp_path / "starts").read_text()) == 1 + again


def test_the_table_has_the_statuses_that_programs_end_with():
    assert {0, PROBLEMS_FOUND, WRONG_INPUT, FAILED, INTERRUPTED, STOPPED} <= {
        status for status, _ in table_of_statuses()
    }


def test_what_argparse_says_of_a_command_line_comes_last(capfd):
    script = 'printf "%s\\n" "usage: x" "[1,1]<stderr>:prog sub: error: unrecognized arguments: -y" noise >&2; exit 2'
    assert run(script, capfd)[1][-1] == "error: unrecognized arguments: -y"


def test_the_exception_of_a_launcher_comes_last(capfd):
    script = 'printf "%s\\n" "  File x" "some.RuntimeError: no ssh" "ValueError: x" >&2; exit 3'
    assert run(script, capfd)[1][2:] == ["ValueError: x", "error: bash ended with status 3: no ssh"]
    script = 'echo "RuntimeError: Horovod detected that one or more processes exited" >&2; exit 1'
    assert run(script, capfd)[1][-1] == "error: bash ended with status 1, see above"


@pytest.mark.parametrize(
    "words, message",
    [
        ("mpirun bash config.sh --set nothing=1", "did you mean"),
        ("mpirun bash config.sh --nothing", "--nothing: no such option"),
        ("horovodrun -np 2 bash /x/config.sh --network nothing", "--network nothing: unknown"),
        ("mpirun --hostfile /nowhere x", "--hostfile /nowhere: No such file"),
        ("/no/such/mpirun -np 2 x", "No such file or directory: '/no/such/mpirun'"),
    ],
)
def test_what_is_wrong_before_the_start_is_one_line(words, message, capfd):
    assert main(["--", *words.split()]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


def test_the_trainers_help_is_printed_once(capfd):
    with pytest.raises(SystemExit) as end:
        main(["--", "mpirun", "bash", "config.sh", "--help"])
    assert not end.value.code and capfd.readouterr().out.count("usage: ") == 1


def test_gloo_needs_a_name_that_resolves(capfd, monkeypatch):
    monkeypatch.setattr(hosts.socket, "gethostname", lambda: "no.invalid")
    assert main(["--", "horovodrun", "--gloo", "-np", "2", "-H", "localhost:2", "x"]) == 2
    assert "name no.invalid does not resolve" in capfd.readouterr().err
    assert main(["--", "horovodrun", "--mpi", "-np", "2", "-H", "no.invalid:2", "x"]) == 2
    assert "write localhost instead" in capfd.readouterr().err


def test_the_hosts_reach_the_launcher_as_a_file(capfd, tmp_path):
    (tmp_path / "hosts").write_bytes(b"\xef\xbb\xbfa_b slots=2\r\n\r\n")
    path = launcher(tmp_path, 'while [[ $1 != --hostfile ]]; do shift; done; cat "$2" >&2; echo $OMPI_MCA_regx >&2')
    assert main(["--", path, "--hostfile", str(tmp_path / "hosts"), "x"]) == 0
    assert capfd.readouterr().err == "a_b slots=2\nnaive\n"


def test_a_signal_reaches_the_launcher_and_ends_the_restarts(tmp_path):
    path = launcher(tmp_path, f"trap 'exit 9' TERM; echo start >>{tmp_path}/starts; while :; do sleep 0.1; done")
    command = [sys.executable, "-m", "partial_fc.launch", "--restarts", "3", "--", path, "bash", "config.sh"]
    with subprocess.Popen(command, env=dict(os.environ, PYTHONPATH=SRC), stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / "starts").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 9 and (tmp_path / "starts").read_text() == "start\n"


def test_a_signal_reaches_the_launcher_behind_a_shell(tmp_path):
    mpirun = f"trap 'touch {tmp_path}/ended; exit 9' TERM; touch {tmp_path}/start; while :; do sleep 0.1; done"
    command = [sys.executable, "-m", "partial_fc.launch", "--", launcher_behind_a_shell(tmp_path, mpirun)]
    with subprocess.Popen(command, env=dict(os.environ, PYTHONPATH=SRC), stderr=subprocess.DEVNULL) as process:
        wait_until((tmp_path / "start").exists)
        process.send_signal(signal.SIGINT)
        wait_until((tmp_path / "ended").exists)


@pytest.mark.parametrize("make_launcher", [launcher, launcher_behind_a_shell])
def test_the_launcher_ends_when_this_process_is_killed(make_launcher, tmp_path):
    script = "exec 2>/dev/null; "  # otherwise bash reports that its `sleep` was ended, to a pipe that nobody reads
    script += f"trap 'touch {tmp_path}/ended; exit' TERM; touch {tmp_path}/start; while :; do sleep 0.1; done"
    command = [sys.executable, "-m", "partial_fc.launch", "--", make_launcher(tmp_path, script)]
    with subprocess.Popen(command, env=dict(os.environ, PYTHONPATH=SRC), stderr=subprocess.DEVNULL) as process:
        wait_until((tmp_path / "start").exists)
        process.kill()
        wait_until((tmp_path / "ended").exists)


@pytest.mark.parametrize(
    "numbers, said",
    [
        ([signal.SIGUSR1], "rank USR1"),
        ([signal.SIGTERM], "rank TERM"),
        ([signal.SIGINT], "rank TERM"),
        ([signal.SIGINT, signal.SIGINT], "rank TERM launcher TERM"),
    ],
)
def test_signals_reach_a_rank_first(numbers, said, tmp_path):
    rank = tmp_path / "rank"
    rank.write_text(f"""
import os, signal, sys, time
for name in ("TERM", "USR1"):
    def say(*_, name=name):
        open("{tmp_path}/said", "a").write(f"rank {{name}} ")
    signal.signal(getattr(signal, "SIG" + name), say)
open("{tmp_path}/ready.tmp", "w").write(str(os.getpid()))
os.rename("{tmp_path}/ready.tmp", "{tmp_path}/ready")
time.sleep(60)
""")
    script = f"trap 'echo -n launcher TERM >>{tmp_path}/said; kill -9 $rank' TERM\n"
    script += f"set -m; {sys.executable} {rank} partial_fc.train & rank=$!; wait; wait $rank"
    command = [sys.executable, "-m", "partial_fc.launch", "--", launcher(tmp_path, script)]
    with subprocess.Popen(command, env=dict(os.environ, PYTHONPATH=SRC), stderr=subprocess.DEVNULL) as process:
        wait_until((tmp_path / "ready").exists)
        (tmp_path / "said").touch()
        for count, number in enumerate(numbers, start=1):
            process.send_signal(number)
            wait_until(lambda words=2 * count: len((tmp_path / "said").read_text().split()) >= words)
        assert (tmp_path / "said").read_text().strip() == said
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((tmp_path / "ready").read_text()), signal.SIGKILL)


def wait_until(condition, seconds=20):
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    "error, status",
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "mpirun"), 2),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/hosts"), 75),
        (InputError("wrong hosts"), 2),
    ],
)
def test_what_keeps_a_launcher_from_its_start(error, status, monkeypatch, capfd):
    monkeypatch.setattr(launch.Launcher, "run", lambda _: (_ for _ in ()).throw(error))
    assert run("true", capfd) == (status, [f"error: {error}"])


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 9), (signal.SIGUSR1, 0)])
def test_a_signal_while_the_launcher_starts_is_not_lost(number, status, tmp_path, monkeypatch, capfd):
    """Such a signal used to end this process alone, or went to nobody."""
    start = subprocess.Popen

    def start_slowly(*args, **options):
        process = start(*args, **options)
        if args[0][-1].endswith("/launcher"):
            wait_until((tmp_path / "ready").exists)
            os.kill(os.getpid(), number)
        return process

    monkeypatch.setattr(launch.subprocess, "Popen", start_slowly)
    script = f"trap 'exit 9' TERM; touch {tmp_path}/ready; for i in {{1..20}}; do sleep 0.1; done"
    assert main(["--", launcher(tmp_path, script)]) == status


def test_the_handlers_of_signals_are_as_before_the_run(capfd):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    run("exit 3", capfd)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before
    with pytest.raises(FileNotFoundError):
        launch.Launcher(launch.read_command(["/no/such/mpirun", "x"])).run()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before


def test_a_launcher_starts_without_a_fork_and_with_the_signals_of_a_new_process(capfd):
    """At a fork MXNet, where it is loaded, stops and starts its threads. Python itself ignores SIGPIPE and SIGXFSZ."""
    forks = []
    os.register_at_fork(before=lambda: forks.append(1))
    status, (line,) = run("grep SigIgn /proc/$$/status >&2", capfd)
    ignored = int(line.split()[1], 16)
    assert status == 0 and not any(ignored >> (number - 1) & 1 for number in (signal.SIGPIPE, signal.SIGXFSZ))
    assert not forks
