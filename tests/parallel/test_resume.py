"""Runs that are cut off, as a user starts them, and what becomes of them with --resume.

PARTIAL_FC_KILL_TRIALS sets how many runs are killed, at a random moment or at a call of the system.
"""

import functools
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from helpers.faces import write_faces
from helpers.paths import ROOT
from helpers.ranks import horovodrun, mpirun, run, succeed
from helpers.runs import TOOLBOX, arrays_of_run, different, losses_of_run

UPDATES = 30
ARGUMENTS = ["--set=val_targets=val", "--set=image_size=32", "--set=embedding_size=16", "--batch-size=4"]
ARGUMENTS += ["--sample-ratio=0.4", "--set=frequent=1", "--set=save_interval=7", "--set=accumulate=2", *TOOLBOX]
ARGUMENTS += [f"--set=max_update={UPDATES}", "--set=verbose=12"]
TRIALS = int(os.environ.get("PARTIAL_FC_KILL_TRIALS", "3"))
# Without config.sh, which waits for what the other ranks say of one that was killed.
RANKS = ["mpirun", "-np", "2", "--oversubscribe", "--bind-to", "none", sys.executable, "-m", "partial_fc.train"]
PATHS = dict(PYTHONPATH=f"{ROOT}/src:{ROOT}/tests/parallel/kill")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data"))


def command(launcher, data, folder, *arguments):
    return [*launcher, *ARGUMENTS, f"--set=rec={data}", f"--models-root={folder}", *arguments]


@pytest.fixture(scope="module")
def undisturbed_in(data, tmp_path_factory):
    """Function of a precision: the folder of a run that nothing disturbs."""

    @functools.lru_cache(None)
    def train(precision):
        folder = tmp_path_factory.mktemp("undisturbed")
        succeed(run(command(mpirun(2), data, folder, f"--precision={precision}")))
        assert len(losses_of_run(folder)) == UPDATES and any("model-best" in name for name in arrays_of_run(folder))
        return folder

    return train


@pytest.fixture
def undisturbed(undisturbed_in):
    return undisturbed_in("float32")


def start(arguments, output, **environment):
    """A run under way, its output in a file."""
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def ranks_of(folder):
    """Process ids of the ranks that train in a folder, by rank."""
    found = {}
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline") as file:
                arguments = file.read().split("\0")
            with open(f"/proc/{process}/environ") as file:
                environment = dict(each.partition("=")[::2] for each in file.read().split("\0"))
        except OSError:
            continue
        if "partial_fc.train" in arguments and f"--models-root={folder}" in arguments:
            rank = environment.get("OMPI_COMM_WORLD_RANK") or environment.get("HOROVOD_RANK")
            if rank:  # not mpirun, whose command line ends with theirs
                found[int(rank)] = int(process)
    return found


def wait_for(path, pattern, seconds=120):
    """Wait until a file has a line of this pattern."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and re.search(pattern, path.read_text()):
            return
        time.sleep(0.05)
    raise AssertionError(f"no {pattern} in {path.read_text()[-5000:]}")


@pytest.mark.parametrize("launcher, rank", [(mpirun(2), None), (horovodrun(2, "--gloo"), 1)])
def test_signals_save_and_end_and_the_run_goes_on(launcher, rank, data, tmp_path, undisturbed):
    log, folder = tmp_path / "output", tmp_path / "run"
    with open(log, "w") as output:
        process = start(command(launcher, data, folder), output)
        wait_for(log, "update 3/")
        asked = process.pid if rank is None else ranks_of(folder)[rank]
        os.kill(asked, signal.SIGUSR1)
        wait_for(log, r"update \d*[1-689]  saved in")  # not one of each seven
        os.kill(asked, signal.SIGTERM)
        assert process.wait(120) == 143
    assert re.search(r"stopped: update \d+: ended by a signal", log.read_text()), log.read_text()
    output = succeed(run(command(launcher, data, folder, "--resume=auto")))
    assert re.search(r"continuing from update \d+, saved by 2 ranks", output)
    assert different(folder, undisturbed) == []


def kill_at_a_random_moment(choice, count, folder, log):
    """Kill so many ranks of a run that has begun to train, at the same time."""
    wait_for(log, "update (0|[0-9]+/)|continuing|Try next|error: ")
    time.sleep(choice.uniform(0, 1.5))
    pids = list(ranks_of(folder).values())
    choice.shuffle(pids)
    for pid in pids[:count]:
        os.kill(pid, signal.SIGKILL)


def kill_at_a_call(choice, kind, attempt):
    """What `kill/sitecustomize.py` needs; a lock is first made, and at the second start replaces the one left there."""
    when = choice.choice(["before", "after"])
    if kind == "while a checkpoint is renamed":
        return f"rename,update-[0-9]+,{choice.randint(1, 4)},{when}"
    if kind == "while the best model is replaced":
        return f"replace,model-best-0000[.]params,1,{when}"
    return "link,[.]lock,1,after" if attempt == 0 else f"replace,[.]lock,1,{when}"


KILLS = {  # how many starts are killed, in which way
    "while a checkpoint is renamed": 1,
    "while the best model is replaced": 1,
    "both ranks": 1,
    "while the lock is taken": 2,
    "one rank": 1,
    "and killed again": 3,
}


@pytest.mark.parametrize(
    "precision, trial", [*(("float32", trial) for trial in range(TRIALS)), ("bfloat16", 0), ("bfloat16", 4)]
)
def test_killed_and_taken_up_again(precision, trial, data, tmp_path, undisturbed_in):
    kind, choice, folder = list(KILLS)[trial % len(KILLS)], random.Random(trial), tmp_path / "run"
    for attempt in range(KILLS[kind] + 1):
        log, ends = tmp_path / f"output-{attempt}", attempt == KILLS[kind]
        at_a_call = not ends and kind.startswith("while") and kill_at_a_call(choice, kind, attempt)
        with open(log, "w") as output:
            arguments = command(RANKS, data, folder, "--resume=auto", f"--precision={precision}")
            process = start(arguments, output, **PATHS, KILL=at_a_call or "")
            if not ends and not at_a_call:
                kill_at_a_random_moment(choice, 2 if kind == "both ranks" else 1, folder, log)
            status = process.wait(200)
        assert status == 0 or not ends, log.read_text()[-5000:]
        assert status or not at_a_call, "not killed"
    assert different(folder, undisturbed_in(precision)) == []
    left = [name for _, folders, names in os.walk(folder) for name in folders + names if name.startswith(".")]
    assert [name for name in left if not name.endswith(".tmp")] == []


def test_other_ranks_go_on(data, tmp_path):
    succeed(run(command(mpirun(3), data, tmp_path, "--set=max_update=14")))
    output = succeed(run(command(mpirun(2), data, tmp_path, "--resume=auto", "--sample-ratio=1")))
    assert "continuing from update 14, saved by 3 ranks" in output and f"update {UPDATES}/{UPDATES}" in output
    assert "sample_ratio changed to 1.0 (was 0.4)" in output
    assert "images per update changed to 16 (was 24)" in output


def test_results_are_not_overwritten_unasked(data, tmp_path):
    small = command(mpirun(2), data, tmp_path, "--set=max_update=6")
    succeed(run(small))
    before = (tmp_path / "losses.csv").read_text()
    refused = run([*small, "--seed=1"])
    assert refused.returncode and "has the results of another run: continue it with --resume auto" in refused.stdout
    assert (tmp_path / "losses.csv").read_text() == before
    succeed(run([*small, "--seed=1", "--overwrite"]))
    assert (tmp_path / "losses.csv").read_text() != before


def test_a_second_start_in_the_same_models_root_is_refused(data, tmp_path, undisturbed):
    log, folder = tmp_path / "output", tmp_path / "run"
    with open(log, "w") as output:
        process = start(command(RANKS, data, folder), output, **PATHS)
        wait_for(log, "update 3/")
        ranks = ranks_of(folder)
        for pid in ranks.values():
            os.kill(pid, signal.SIGSTOP)  # it is to be there still when the second starts
        for arguments in (["--overwrite"], ["--resume=auto"]):
            second = run(command(RANKS, data, folder, *arguments, "--seed=1"), **PATHS)
            assert second.returncode == 2, second.stdout
            assert second.stdout.count("error: ") == 1, second.stdout
            assert f"{folder}: another run is at work there: process {ranks[0]} on " in second.stdout
        for pid in ranks.values():
            os.kill(pid, signal.SIGCONT)
        assert process.wait(200) == 0
    assert different(folder, undisturbed) == []
    assert not (folder / ".lock").exists()


def test_full_disk_while_saving(data, tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]).returncode:
        pytest.skip("mounting a file system needs root")
    try:
        # Room for the first checkpoints, not for three.
        keys = "max_update=30 keep_checkpoints=9 keep_best_centers=false".split()
        arguments = command(mpirun(2), data, folder, *(f"--set={key}" for key in keys))
        output = run(arguments)
        assert output.returncode == 75, output.stdout
        assert "; training continues" in output.stdout and re.search("No space left|0 MiB are free", output.stdout)
        assert re.search(r"error: update 30: cannot be saved: ", output.stdout)
        kept = sorted(os.listdir(folder / "checkpoints"))
        assert kept and all(re.fullmatch(r"update-\d+", name) for name in kept)
        again = run([*arguments, "--resume=auto", "--set=keep_checkpoints=1"])
        assert f"continuing from update {int(kept[-1][7:])}" in again.stdout, again.stdout
    finally:
        subprocess.run(["umount", str(folder)], check=True)
