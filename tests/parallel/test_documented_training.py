"""Each line of README and docs that trains runs as it is printed, on real ranks, with tiny presets and data.

Names that stand for the reader's own get a value, the reader's hosts are this one, and 8 or 16 ranks are 2. Lines that
differ in kind run with the other launcher, too, and must give the same losses; all of them would take twice as long.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import threading

import numpy as np
import pytest

from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.record_writer import write_records
from partial_fc.data.verification_set import save_verification_set

from helpers.checkout import copy_checkout, run_line
from helpers.documents import entered, lines_of
from helpers.faces import face
from helpers.paths import ROOT
from helpers.ranks import succeed
from helpers.runs import losses_of_run

TINY = """
DATASETS.update({name: dict(DATASETS["lfw"], rec=f"{name}/train.rec") for name in ("faces", "new-faces")})
for each in DATASETS.values():
    each.update(num_classes=0, image_size=32, embedding_size=16, batch_size=4, max_update=3, lr_steps=[2])
NETWORKS = {name: dict(net_name="demo") for name in NETWORKS}
"""
SETS = ("demo", "heldout", "lfw", "cfp_fp", "agedb_30", "calfw", "cfp_ff", "cplfw", "vgg2_fp")
RECORDS = ("demo", "faces", "new-faces", "lfw", "faces_emore", "glint360k", "DIR", "DIR/glint360k")
# What readers replace, and what stands there instead.
READERS_OWN = {
    r"[][]": "",  # what is optional is given
    r"\bARGS\b": "--seed 1",
    r"-np (8|16|N)\b": "-np 2",
    r"ip1:8,ip2:8|localhost:8": "localhost:2",
    r"--hostfile F\b": "--hostfile hosts",
    r"--restarts K\b": "--restarts 1",
    r"--rec DIR": "--rec data/DIR",
    r"--seed S\b": "--seed 3",
    r"initializer=I\b": "initializer=normal",
    r"bias_decay=B\b": "bias_decay=true",
}
LINES = [line for line in lines_of("training") if line != "bash config.sh --help"]
# The first line of each of these kinds also runs with the other launcher.
KINDS = ("bash run.sh$", ".* --resume auto", ".* --centers", ".* --hostfile", "horovodrun")
BOTH = {next(line for line in LINES if re.match(kind, line)) for kind in KINDS}


def write_data(folder):
    """Records of 5 people and 20 images, and verification sets."""
    os.makedirs(folder)
    write_records(str(folder / "train.rec"), [[encode_jpeg(face(i, j)) for j in range(4)] for i in range(5)])
    images = [encode_jpeg(face(9 + i // 4, i)) for i in range(40)]
    for name in SETS:
        save_verification_set(str(folder / f"{name}.bin"), images, np.arange(20) % 2 == 0)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout in which the demo and the faces have been trained up to update 2, and what is made of their models."""
    with open(os.path.join(ROOT, "default.py"), encoding="utf-8") as file:
        folder = copy_checkout(tmp_path_factory.mktemp("documented") / "checkout", file.read() + TINY)
    reading = folder / "src" / "partial_fc" / "training" / "input_rate.py"
    reading.write_text(reading.read_text().replace("_LINES = 20, 5", "_LINES = 1, 1"))  # seconds of --io-only
    (folder / "YOUR").mkdir()
    shutil.copy(folder / "default.py", folder / "YOUR")
    for hosts in (folder / "hosts", *(folder / "setup-utils" / "hosts").iterdir()):
        hosts.write_text("localhost slots=2\n")
    for name in RECORDS:
        write_data(folder / "data" / name)
    for arguments in ("", "--dataset faces --network r50 --models-root models/faces", "--dataset faces"):
        succeed(run_line(folder, f"bash run.sh -np 2 -- --set max_update=2 {arguments}"))
    shutil.copytree(folder / "models" / "faces" / "checkpoints" / "update-000000002", folder / "data" / "centers")
    for name in ("symbol.json", "0000.params"):
        shutil.copy(folder / "models" / "faces" / f"model-{name}", folder / "models" / f"theirs-{name}")
    for summary in folder.glob("models/**/summary.json"):
        summary.unlink()
    return folder


def with_values(line):
    """A printed line with values for what readers replace."""
    for pattern, value in READERS_OWN.items():
        line = re.sub(pattern, value, line)
    return line


def with_the_other_launcher(line):
    found = re.fullmatch(r"(?:exec )?bash run\.sh(?: -np (\d+))?(?: --hostfile (\S+))?(?: --( .*))?", line)
    if not found:
        ranks, arguments = re.fullmatch(r"horovodrun .*-np (\d+) .*bash config\.sh(.*)", line).groups()
        return f"bash run.sh -np {ranks} --{arguments}"
    ranks, hostfile, arguments = found.groups()
    hosts = f"--hostfile {hostfile}" if hostfile else f"-H localhost:{ranks or 2}"
    return f"horovodrun -np {ranks or 2} {hosts} bash config.sh{arguments or ''}"


def option(line, name, default):
    found = re.search(rf"{name}[ =](\S+)", line)
    return found[1] if found else default


def trained(checkout, folder, line):
    """Run a line in a new copy of the checkout; returns its output, the folder and the summary of its run."""
    shutil.copytree(checkout, folder, symlinks=True)
    root = option(line, "--models-root", "")
    if root and "--resume" not in line:
        shutil.rmtree(folder / root, ignore_errors=True)
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))  # run.sh starts a rank on each, and 2 at least
    output = succeed(run_line(folder, line, "taskset", "-c", cores))
    if "--io-only" in line:
        return output, None, None
    (path,) = (path for path in folder.glob("**/summary.json"))
    return output, path.parent, json.loads(path.read_text())


@pytest.mark.parametrize("printed", LINES)
def test_it_runs_as_printed(printed, checkout, tmp_path):
    line = with_values(printed)
    output, folder, summary = trained(checkout, tmp_path / "here", "\n".join([*entered(printed), line]))
    if "--io-only" in line:
        assert re.search(r"input alone, 1 of 1 s: \d+ images/s on all 2 ranks", output), output
        return
    assert summary["ranks"] == int(option(line, "-np", 2))
    assert summary["updates"] >= (2 if "--config" in line else 3)  # as the run that the file describes
    assert summary["continued_from"] == (2 if "--resume auto" in line else 0)
    named = {name: option(line, f"--{name}", summary[name]) for name in ("dataset", "network", "loss")}
    named["dataset"] = os.path.basename(os.path.dirname(option(line, "--rec", ""))) or named["dataset"]
    assert named == {name: summary[name] for name in named}
    if printed in BOTH:
        _, other, _ = trained(checkout, tmp_path / "other", with_the_other_launcher(line))
        assert losses_of_run(other) == losses_of_run(folder)


def test_the_script_for_slurm_saves_when_it_is_signaled(checkout, tmp_path):
    """Slurm signals the process of the script alone (B: in --signal)."""
    (line,) = (line for line in LINES if line.startswith("exec "))
    here = shutil.copytree(checkout, tmp_path / "here", symlinks=True)
    with open(here / "default.py", "a") as file:
        file.write('DATASETS["faces"].update(max_update=10**6, frequent=1)\n')
    command = ["bash", "-c", f". setup-utils/env.sh\n{line}"]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with subprocess.Popen(command, cwd=here, start_new_session=True, **pipes) as process:
        limit = threading.Timer(180, os.killpg, (process.pid, signal.SIGKILL))  # if it runs on
        limit.start()
        output = []
        for text in process.stdout:
            output.append(text)
            if "update 5/" in text:
                process.terminate()
        limit.cancel()
    assert process.returncode == 143, "".join(output)
    assert max(int(path.name[7:]) for path in here.glob("models/faces-demo-cosface/checkpoints/update-*")) >= 5


def test_help_is_printed(checkout):
    assert "bash config.sh --help" in lines_of("training")
    assert "--sample-ratio" in succeed(run_line(checkout, "bash config.sh --help"))
