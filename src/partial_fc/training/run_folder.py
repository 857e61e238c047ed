"""The models root of a run: which folder it is, that no other run uses it, and where in it is what."""

import contextlib
import glob
import itertools
import os
import shutil
import uuid

from ..config import dataset_name
from ..distributed.lock import LOCK, Held, Lock
from ..errors import InputError

_FILES = dict(model="model", checkpoints="checkpoints", log="train.log", curves="curves.png")
# Any of these shows that there was a run.
_RESULTS = "checkpoints", "model-0000.params", "losses.csv", "summary.json"


def run_files(models_root):
    """Where a run leaves what, by name."""
    return {name: os.path.join(models_root, file) for name, file in _FILES.items()}


def choose_models_root(config, comm):
    """Set `config.models_root`, the same on every rank.

    The default is `models/DATASET-NETWORK-LOSS`, or if that has the results of a run already, or a run is at work
    there, the same with -2, -3 ... after it; `--resume auto` takes the last with results. One's own records have the
    name of their folder for DATASET.

    Returns:
        Whether it is the default of a new run, and so may still change: see `hold_models_root`.

    Raises:
        CollectiveError: on every rank, if the folder that was asked for has the results of another run, and neither
            `--resume auto` nor `--overwrite` is given.
    """
    may_change = not config.models_root and config.resume != "auto"
    with comm.raise_on_all_ranks():
        default = config.models_root or (_default_root(config) if comm.rank == 0 else "")
    config.models_root = comm.all_gather_object(default)[0]
    with comm.raise_on_all_ranks():
        _check_results(config)
        if config.overwrite and _lies_in(config.resume, config.models_root):
            raise InputError(f"--overwrite would remove what --resume {config.resume} starts from")
    return may_change


@contextlib.contextmanager
def hold_models_root(config, comm, may_change):
    """Context in which no other run uses `config.models_root`; gives this rank's Lock.

    Rank 0 locks it, and where a host has a models root of its own, a rank of that host.

    Args:
        config: with `models_root` as `choose_models_root` has set it; the next default, if a run is at work there.
        comm: communicator.
        may_change: what `choose_models_root` returned.

    Raises:
        CollectiveError: on every rank, if another run is at work there, or has left results since it was chosen.
    """
    run = comm.all_gather_object(uuid.uuid4().hex)[0]
    lock = None
    try:
        with comm.raise_on_all_ranks():
            if comm.rank == 0:
                lock = _lock_first(config, run, may_change)
        config.models_root = comm.all_gather_object(config.models_root)[0]
        lock = lock or _lock(config, run)
        comm.at_end(lock.release)
        with comm.raise_on_all_ranks():
            if comm.rank and comm.local_rank == 0:
                lock.acquire(config.break_lock)
        with comm.raise_on_all_ranks():
            _check_results(config)
        yield lock
    finally:
        if lock:
            lock.release()


def _lock_first(config, run, may_change):
    """The Lock of the models root, after that was changed to the first default that is free if it may change."""
    while True:
        lock = _lock(config, run)
        try:
            lock.acquire(config.break_lock)
        except Held:
            if not may_change:
                raise
        else:
            if not may_change or not _has_results(config.models_root):
                return lock
            lock.release()
        config.models_root = _default_root(config)


def _lock(config, run):
    remedy = "start with --break-lock, once you are sure that it is"
    launch = os.environ.get("PARTIAL_FC_LAUNCH", "")
    return Lock(os.path.join(config.models_root, LOCK), remedy, run, launch)


def _check_results(config):
    if _has_results(config.models_root) and config.resume != "auto" and not config.overwrite:
        raise InputError(
            f"--models-root {config.models_root}: has the results of another run: continue it with --resume auto, "
            "overwrite it with --overwrite, or name another folder"
        )


def has_checkpoints(models_root: str) -> bool:
    """Whether a models root has the folder of any checkpoint, whole or not."""
    folder = run_files(models_root)["checkpoints"]
    return os.path.isdir(folder) and any(name.startswith("update-") for name in os.listdir(folder))


def clear(models_root):
    """Remove the results of a run, where they are to be overwritten."""
    shutil.rmtree(run_files(models_root)["checkpoints"], ignore_errors=True)
    for pattern in (*_RESULTS, "events.out.tfevents.*"):
        for path in glob.glob(os.path.join(glob.escape(models_root), pattern)):
            if os.path.isfile(path):
                os.remove(path)


def _default_root(config):
    base = os.path.join("models", "-".join((dataset_name(config), config.network, config.loss)))
    roots = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
    if config.resume == "auto":
        taken = list(itertools.takewhile(_has_results, roots))
        return taken[-1] if taken else base
    return next(root for root in roots if not _has_results(root) and not Lock(os.path.join(root, LOCK)).is_held())


def _has_results(models_root):
    return any(os.path.exists(os.path.join(models_root, name)) for name in _RESULTS)


def _lies_in(path, folder):
    path, folder = (os.path.join(os.path.realpath(each), "") for each in (path, folder))
    return path.startswith(folder)
