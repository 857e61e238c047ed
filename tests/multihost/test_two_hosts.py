"""Runs over two hosts, which share no file: they train as one host does, and end both when the network is cut."""

import csv
import time

import pytest

from benchmarks.two_hosts import Hosts, launch_command, obstacle, own_folders

from helpers.faces import write_faces
from helpers.paths import ROOT
from helpers.ranks import run, succeed

reason = obstacle()
pytestmark = pytest.mark.skipif(reason is not None, reason=str(reason))
SETTINGS = "val_targets=val image_size=32 embedding_size=16 batch_size=8 sample_ratio=0.4 lr_steps=4 frequent=1"
SETTINGS += " initializer=xavier"  # with the published initial weights it grows faster
# Limits that a cut network shows soon.
SHORT = dict(PARTIAL_FC_LOST_SECONDS="3")
SHORT.update(OMPI_MCA_oob_tcp_keepalive_time="3", OMPI_MCA_oob_tcp_keepalive_intvl="1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Working folder of the runs, with data."""
    folder = tmp_path_factory.mktemp("work")
    write_faces(folder)
    return folder


@pytest.fixture
def shared(tmp_path_factory):
    """A folder that both hosts share."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def hosts(folder):
    with Hosts(own_folders(folder)) as hosts:
        yield hosts


def arguments(folder, max_update, models_root):
    settings = [*SETTINGS.split(), f"max_update={max_update}", f"rec={folder}/train.rec"]
    return [*(word for setting in settings for word in ("--set", setting)), "--models-root", str(models_root)]


def losses(text):
    return [float(row["loss"]) for row in csv.DictReader(text.splitlines())]


@pytest.mark.parametrize("ranks", [2, 4])
def test_same_losses_as_one_host(ranks, hosts, folder):
    alone = folder / f"alone-{ranks}"
    succeed(run(["bash", f"{ROOT}/run.sh", "-np", str(ranks), "--", *arguments(folder, 6, alone)], cwd=folder))
    for launcher in ("run.sh", "horovodrun --gloo"):
        # each start has its files anew: what a run leaves is read within it
        models_root = f"models-{ranks}-{launcher[:3]}"
        train = [*launch_command(launcher, hosts.names, ranks // 2, folder), *arguments(folder, 6, models_root)]
        # under one launcher in two parts, of which the second goes on from a checkpoint that has files on each host
        begin = '"$@" --set max_update=3 && "$@" --resume auto' if (launcher, ranks) == ("run.sh", 2) else '"$@"'
        script = f"{begin} && echo ==== && cat {models_root}/losses.csv"
        output = succeed(hosts.run(hosts.names[0], ["bash", "-c", script, "_", *train], cwd=folder))
        expected = losses((alone / "losses.csv").read_text())
        # sums of four numbers may be taken in another order; the difference grows from update to update
        assert losses(output.partition("====\n")[2]) == pytest.approx(expected, rel=1e-4 if ranks > 2 else 0), launcher
        assert not (folder / models_root).exists()


def test_other_data_on_one_host_are_refused(hosts, folder):
    pack = f"cd {ROOT} && . setup-utils/env.sh && cd tests && python -c"
    write = f"{pack} 'from helpers.faces import write_faces; write_faces(\"{folder}\", 21)'"
    train = [*launch_command("run.sh", hosts.names, 1, folder), *arguments(folder, 6, "models")]
    done = hosts.run(hosts.names[0], ["bash", "-c", write + ' && "$@"', "_", *train], cwd=folder)
    assert done.returncode == 2 and "the checksum of train.idx is" in done.stdout.splitlines()[-1], done.stdout[-5000:]


def cut_at(update, hosts, train, folder):
    """Start a run on the first host, cut the network after an update; returns the exit status and the output."""
    process = hosts.start(hosts.names[0], train, cwd=folder, **SHORT)
    output = []
    try:
        for line in process.stdout:
            output.append(line)
            if f"update {update}/" in line:
                hosts.cut()
        return process.wait(60), "".join(output)
    finally:
        process.kill()


@pytest.fixture
def mended(hosts):
    """The hosts, whose network is mended after the test; nothing of a run may be left on any of them by then."""
    yield hosts
    deadline = time.monotonic() + 60
    while any(hosts.processes(name) for name in hosts.names) and time.monotonic() < deadline:
        time.sleep(0.5)
    hosts.mend()
    assert not [process.cmdline() for name in hosts.names for process in hosts.processes(name)]


@pytest.mark.parametrize("launcher", ["run.sh", "horovodrun --mpi", "horovodrun --gloo"])
def test_cut_network_ends_both_hosts(launcher, mended, folder):
    train = [*launch_command(launcher, mended.names, 1, folder), *arguments(folder, 1000000, "models-" + launcher[-3:])]
    status, output = cut_at(20, mended, train, folder)
    last = output.rstrip().splitlines()[-1]
    assert status and last.startswith(f"error: rank 1 ({mended.names[1]}): nothing heard for 3 s"), output


def test_restarts_on_the_host_that_is_left(mended, folder, shared):
    train = launch_command("run.sh", mended.names, 1, folder)
    settings = [*arguments(folder, 30, shared / "models"), "--set", "save_interval=5"]
    status, output = cut_at(12, mended, [*train[:-1], "--restarts", "1", "--", *settings], folder)
    assert status == 0 and f"{mended.names[1]} does not answer: the run continues on the other hosts" in output, output
    assert "continuing from update 10, saved by 2 ranks" in output and "update 30/30" in output


def test_no_restart_without_the_centers_of_a_host_that_is_gone(mended, folder):
    train = launch_command("run.sh", mended.names, 1, folder)
    settings = [*arguments(folder, 1000000, "models-own"), "--set", "save_interval=5"]
    status, output = cut_at(12, mended, [*train[:-1], "--restarts", "1", "--", *settings], folder)
    last = output.rstrip().splitlines()[-1]
    assert status and last.startswith(f"error: no restart: {mended.names[1]} does not answer, and the models"), output
