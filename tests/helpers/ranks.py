"""Start real ranks, with mpirun or with horovodrun under Gloo."""

import os
import subprocess
import sys

from helpers.paths import ROOT

LAUNCHERS = ("mpi", "gloo")


def launch(launcher, ranks, script, *arguments):
    """Run a script of tests/parallel, or one given by its whole path, on real ranks; returns the CompletedProcess."""
    command = [sys.executable, os.path.join(ROOT, "tests", "parallel", script)] + [str(a) for a in arguments]
    if launcher == "mpi":
        prefix = ["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none"]
    else:
        prefix = ["horovodrun", "--gloo", "-np", str(ranks), "-H", f"localhost:{ranks}"]
    paths = os.pathsep.join(os.path.join(ROOT, name) for name in ("src", "tests"))
    return run(prefix + command, PYTHONPATH=paths)


def run(command, cwd=ROOT, **environment):
    """Run a command to its end, at most 4 minutes, with MXNet on one thread."""
    settings = dict(OMP_NUM_THREADS="1")
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **settings, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
        text=True,
    )


def succeed(process):
    """The output of a process that must have succeeded."""
    assert process.returncode == 0, process.stdout[-20000:]
    return process.stdout


def mpirun(ranks):
    return ["bash", f"{ROOT}/run.sh", "-np", str(ranks), "--"]


def horovodrun(ranks, *options):
    return ["horovodrun", *options, "-np", str(ranks), "-H", f"localhost:{ranks}", "bash", f"{ROOT}/config.sh"]
