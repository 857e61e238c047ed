"""A models root has one run at a time; that run may have several ranks, on hosts with or without a common folder."""

import os
import threading
import time

import pytest

from partial_fc.cli.train_arguments import read_command_line
from partial_fc.config import Run
from partial_fc.distributed.collectives import Communicator
from partial_fc.distributed.lock import LOCK, Lock
from partial_fc.distributed.restarts import SERIES
from partial_fc.errors import CollectiveError
from partial_fc.training import run_folder
from partial_fc.training.run_folder import (
    ChosenRoot,
    choose_models_root,
    continue_series,
    hold_models_root,
    open_models_root,
)
from partial_fc.training.run_log import start_log
from partial_fc.training.series import record_series

from helpers.locks import leave
from helpers.shards import Shards


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configuration(*arguments):
    return read_command_line(arguments)


def hold(start, comm=None, chosen=None):
    """The context of a (Config, StartOptions)."""
    comm = comm or Communicator()
    return hold_models_root(chosen or choose_models_root(*start, comm), *start, comm)


@pytest.mark.parametrize("arguments", [["--overwrite"], ["--resume", "auto"], []])
def test_a_second_start_is_refused(arguments, folder):
    with hold(configuration("--models-root", "root")):
        with pytest.raises(CollectiveError, match="root: another run is at work there: process") as caught:
            with hold(configuration("--models-root", "root", *arguments)):
                pass
        assert caught.value.status == 2
    with hold(configuration("--models-root", "root", *arguments)):
        pass
    assert not os.path.exists("root")  # which a run that could not start would leave


def test_new_runs_without_a_name_take_the_next(folder):
    first, second = (choose_models_root(*configuration(), Communicator()) for _ in range(2))
    with hold(configuration(), chosen=first) as (one, _), hold(configuration(), chosen=second) as (two, _):
        with hold(configuration()) as (three, _):
            roots = [one, two, three]
            assert roots == ["models/demo-demo-cosface", "models/demo-demo-cosface-2", "models/demo-demo-cosface-3"]
    os.makedirs("models/demo-demo-cosface")
    open("models/demo-demo-cosface/losses.csv", "w").close()
    with hold(configuration("--resume", "auto")) as (again, _):
        assert again == "models/demo-demo-cosface"
        with pytest.raises(CollectiveError, match="another run is at work there"):
            with hold(configuration("--resume", "auto")):
                pass


@pytest.mark.parametrize("arguments", [["--models-root", "models/demo-demo-cosface"], []])
def test_results_that_came_after_the_name_was_chosen(arguments, folder):
    start = configuration(*arguments)
    chosen = choose_models_root(*start, Communicator())
    os.makedirs("models/demo-demo-cosface")
    open("models/demo-demo-cosface/losses.csv", "w").close()
    assert chosen.may_change == (not arguments)
    if chosen.may_change:
        with hold(start, chosen=chosen) as (models_root, _):
            assert models_root == "models/demo-demo-cosface-2"
    else:
        with pytest.raises(CollectiveError, match="has the results of another run"):
            with hold(start, chosen=chosen):
                pass


def test_a_lock_of_another_host(folder, monkeypatch):
    leave(os.path.join("root", LOCK))
    with pytest.raises(CollectiveError, match="on b, since .* if it has ended, start with --break-lock"):
        with hold(configuration("--models-root", "root")):
            pass
    with hold(configuration("--models-root", "root", "--break-lock")):
        pass
    leave(os.path.join("root", LOCK))
    monkeypatch.setenv("PARTIAL_FC_LAUNCH", "a launch")  # as a start of --restarts after the host was lost
    with hold(configuration("--models-root", "root")):
        pass


def on_hosts(work, shared, monkeypatch):
    """Call a function of a Lock on four ranks of two hosts while the root is held."""
    of_thread = threading.local()  # each rank is a thread
    monkeypatch.setattr(run_folder, "_lock", lambda _, run: Lock(os.path.join(of_thread.folder, LOCK), run=run))

    def hold_and_work(comm):
        comm.local_rank, host = comm.rank % 2, comm.rank // 2
        of_thread.folder = "root" if shared else f"root-{host}"
        with hold(configuration("--models-root", "root"), comm, ChosenRoot("root", False)) as (_, lock):
            comm.all_gather_object(None)
            result = work(lock)
            comm.all_gather_object(None)
            return result

    return Shards(4).run(hold_and_work)


@pytest.mark.parametrize("shared, folders", [(True, ["root"]), (False, ["root-0", "root-1"])])
def test_ranks_of_two_hosts(shared, folders, folder, monkeypatch):
    def locked(_):
        return sorted(name for name in os.listdir() if os.listdir(name) == [LOCK])

    assert on_hosts(locked, shared, monkeypatch) == [folders] * 4 and os.listdir() == []


def test_the_root_of_one_of_two_hosts_is_used_by_another_run(folder, monkeypatch):
    with Lock(os.path.join("root-1", LOCK)):
        with pytest.raises(CollectiveError, match="rank 2: .*root-1: another run is at work there"):
            on_hosts(lambda lock: None, False, monkeypatch)
        assert os.listdir() == ["root-1"] and os.listdir("root-1") == [LOCK]


DEFAULT = "models/demo-demo-cosface"


def begun(root, checkpoint=""):
    """A models root as the start of a run leaves it that has taken it."""
    os.makedirs(f"{root}/checkpoints/{checkpoint}")
    open(f"{root}/losses.csv", "w").close()
    record_series(root)


def continued(*arguments):
    """Models root, `resume` and `overwrite` of the next start of the same launch."""
    config, options = continue_series(*configuration(*arguments), Communicator())
    return choose_models_root(config, options, Communicator()).path, config.resume, options.overwrite


def test_a_later_start_continues_only_what_its_own_launch_began(folder, monkeypatch):
    begun(DEFAULT, "update-000000009")
    monkeypatch.setenv(SERIES, "b")
    assert continued() == (f"{DEFAULT}-2", "no", False)  # the first start has ended before it took a folder
    begun(f"{DEFAULT}-2")
    assert continued() == continued("--resume", "auto") == (f"{DEFAULT}-2", "auto", False)
    monkeypatch.setenv(SERIES, "c")
    begun(f"{DEFAULT}-3", "update-000000009")
    assert continued() == (f"{DEFAULT}-3", "auto", False)
    monkeypatch.setenv(SERIES, "b")
    assert continued() == (f"{DEFAULT}-2", "auto", False)
    monkeypatch.delenv(SERIES)
    assert continued() == (f"{DEFAULT}-4", "no", False)


def test_a_later_start_overwrites_what_is_not_of_its_launch(folder, monkeypatch):
    begun("root", "update-000000009")
    monkeypatch.setenv(SERIES, "b")
    assert continued("--models-root", "root", "--overwrite") == ("root", "no", True)
    record_series("root")
    assert continued("--models-root", "root", "--overwrite") == ("root", "auto", True)
    monkeypatch.delenv(SERIES)
    record_series("root")  # another start, of no series, has it now
    monkeypatch.setenv(SERIES, "b")
    assert continued("--models-root", "root", "--overwrite") == ("root", "no", True)


def test_a_run_from_elsewhere_begins_there_again_until_it_has_a_checkpoint(folder, monkeypatch):
    monkeypatch.setenv(SERIES, "b")
    begun(DEFAULT)
    assert continued("--resume", "other") == (DEFAULT, "other", True)
    os.mkdir(f"{DEFAULT}/checkpoints/update-000000005")
    assert continued("--resume", "other") == (DEFAULT, "auto", False)


def test_all_ranks_continue_what_rank_0_finds(folder, monkeypatch):
    monkeypatch.setenv(SERIES, "b")
    begun("root", "update-000000009")
    start = configuration("--models-root", "root")
    monkeypatch.setattr(run_folder, "root_of_series", lambda roots: "root")
    results = Shards(2).run(lambda comm: continue_series(*start, comm))
    assert results[0] == results[1] and results[0][0].resume == "auto"
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setenv(SERIES, "b")
    os.remove("root/.series")
    os.mkdir("root/.series")
    with pytest.raises(CollectiveError, match="root/.series"):
        continue_series(*start, Communicator())


def test_two_hosts_that_share_the_root_clear_it_at_once(folder, monkeypatch):
    """The second host sees the old files until the first has removed them, and is slower to remove its share."""
    begun("root", "update-000000009")
    for name in ("summary.json", "0_hist.log", "1_hist.log"):
        open(f"root/{name}", "w").close()
    both_see = threading.Barrier(2)
    isfile, of_thread = os.path.isfile, threading.local()

    def seen(path):
        found = isfile(path)
        if found and path == "root/losses.csv" and not getattr(of_thread, "waited", False):
            of_thread.waited = True
            both_see.wait(20)
        if found and getattr(of_thread, "rank", 0):
            time.sleep(0.1)
        return found

    config, options = configuration("--models-root", "root", "--overwrite", "--set", "published_files=true")

    def start(comm):
        of_thread.rank, comm.local_rank = comm.rank, 0
        open_models_root(Run(config, "root", 6), options, comm, False, start_log(comm))

    monkeypatch.setattr(run_folder.os.path, "isfile", seen)
    Shards(2).run(start)
    assert sorted(os.listdir("root")) == ["0_hist.log", "1_hist.log", "config.toml", "train.log"]


@pytest.mark.parametrize("arguments", [["--resume", "auto"], ["--overwrite"]])
def test_what_a_killed_run_has_left_unfinished_is_removed(arguments, folder):
    begun("root", "update-000000009")
    names = ".model-0000.params.7.tmp", ".model-best-symbol.json.7.tmp", ".12_centers_mom.param.8.tmp"
    others = ".model.onnx.7.tmp", "model-symbol.json"  # of another program, perhaps at work; of the run
    for name in (*names, *others):
        open(f"root/{name}", "w").close()
    comm = Communicator()
    config, options = configuration("--models-root", "root", *arguments)
    open_models_root(Run(config, "root", 6), options, comm, False, start_log(comm))
    assert not {*names} & {*os.listdir("root")} and {*others} <= {*os.listdir("root")}
