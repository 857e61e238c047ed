"""Runs over two hosts, which share no file: they train as one host does, and end both when the network is cut."""

import csv
import time

import pytest

from faces import write_faces
from multihost.hosts import Hosts, obstacle, own_folders
from parallel.launch import ROOT, run, succeed

reason = obstacle()
pytestmark = pytest.mark.skipif(reason is not None, reason=str(reason))
SETTINGS = "val_targets=val image_size=32 embedding_size=16 batch_size=8 sample_ratio=0.4 lr_steps=4 frequent=1"
# Limits that a cut network shows soon.
SHORT = dict(PARTIAL_FC_LOST_SECONDS="3")
SHORT.update(OMPI_MCA_oob_tcp_keepalive_time="3", OMPI_MCA_oob_tcp_keepalive_intvl="1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Working folder of the runs, with data."""
    folder = tmp_path_factory.mktemp("work")
    write_faces(folder)
    return folder


@pytest.fixture(scope="module")
def hosts(folder):
    with Hosts(own_folders(folder)) as hosts:
        yield hosts


def arguments(folder, max_update, models_root):
    settings = [*SETTINGS.split(), f"max_update={max_update}", f"rec={folder}/train.rec"]
    return [*(word for setting in settings for word in ("--set", setting)), "--models-root", str(models_root)]


def command(launcher, names, ranks, folder):
    """The launcher's command for so many ranks on each host."""
    if launcher == "run.sh":
        path = folder / f"hosts-{ranks}"
        path.write_text("".join(f"{name} slots={ranks}\n" for name in names))
        return ["bash", f"{ROOT}/run.sh", "--hostfile", str(path), "--"]
    slots = ",".join(f"{name}:{ranks}" for name in names)
    return [*launcher.split(), "-np", str(ranks * len(names)), "-H", slots, "bash", f"{ROOT}/config.sh"]


def losses(text):
    return [float(row["loss"]) for row in csv.DictReader(text.splitlines())]


@pytest.mark.parametrize("ranks", [2, 4])
def test_same_losses_as_one_host(ranks, hosts, folder):
    alone = folder / f"alone-{ranks}"
    succeed(run(["bash", f"{ROOT}/run.sh", "-np", str(ranks), "--", *arguments(folder, 6, alone)], cwd=folder))
    for launcher in ("run.sh", "horovodrun --gloo"):
        # each start has its files anew: what a run leaves is read within it
        models_root = f"models-{ranks}-{launcher[:3]}"
        train = [*command(launcher, hosts.names, ranks // 2, folder), *arguments(folder, 6, models_root)]
        script = f'"$@" && echo ==== && cat {models_root}/losses.csv'
        output = succeed(hosts.run(hosts.names[0], ["bash", "-c", script, "_", *train], cwd=folder))
        expected = losses((alone / "losses.csv").read_text())
        # sums of four numbers may be taken in another order
        assert losses(output.partition("====\n")[2]) == pytest.approx(expected, rel=1e-6 if ranks > 2 else 0), launcher
        assert not (folder / models_root).exists()


def test_other_data_on_one_host_are_refused(hosts, folder):
    pack = f"cd {ROOT} && . setup-utils/env.sh && cd tests && PYTHONPATH={ROOT}/src python -c"
    write = f'{pack} \'from faces import write_faces; write_faces("{folder}", 21)\''
    train = [*command("run.sh", hosts.names, 1, folder), *arguments(folder, 6, "models")]
    done = hosts.run(hosts.names[0], ["bash", "-c", write + ' && "$@"', "_", *train], cwd=folder)
    assert done.returncode == 2 and "the checksum of train.idx is" in done.stdout.splitlines()[-1], done.stdout[-5000:]


@pytest.mark.parametrize("launcher", ["run.sh", "horovodrun --mpi", "horovodrun --gloo"])
def test_cut_network_ends_both_hosts(launcher, hosts, folder):
    train = [*command(launcher, hosts.names, 1, folder), *arguments(folder, 1000000, "models-" + launcher[-3:])]
    process = hosts.start(hosts.names[0], train, cwd=folder, **SHORT)
    output = []
    try:
        for line in process.stdout:
            output.append(line)
            if "update 20/" in line:
                hosts.cut()
        process.wait(60)
        last = [line for line in output if line.strip()][-1]
        assert process.returncode and f"rank 1 ({hosts.names[1]}): nothing heard for 3 s" in last, "".join(output)
        deadline = time.monotonic() + 60
        while any(hosts.processes(name) for name in hosts.names) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert not [process.cmdline() for name in hosts.names for process in hosts.processes(name)]
    finally:
        hosts.mend()
        process.kill()
