"""The models root of a run: the choice of the folder, its lock, and the paths of the files in it."""

import contextlib
import dataclasses
import glob
import itertools
import logging.handlers
import os
import shutil
import uuid
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..config import Config, Run, StartOptions, dataset_name
from ..distributed.communicator import Communicator
from ..distributed.lock import LOCK, Held, Lock
from ..errors import InputError
from ..files import remove_unfinished
from .config_file import write_config
from .published_files import CENTERS, PATTERNS, open_published_log
from .run_log import open_log
from .series import record_series, root_of_series

_FILES = dict(
    model="model",
    checkpoints="checkpoints",
    log="train.log",
    curves="curves.png",
    config="config.toml",
    best="model-best",
    best_checkpoint="best",
)
_CHECKPOINTS = "checkpoints", "best_checkpoint"
# Any of these shows that there was a run.
_RESULTS = "checkpoints", "model-0000.params", "losses.csv", "summary.json"
# What a run writes again and again. Of one that was killed meanwhile, up to gigabytes are left under temporary names.
_REPLACED = "model*-symbol.json", "model*-0000.params", *CENTERS


class ChosenRoot(NamedTuple):
    """A models root before it is locked.

    Attributes:
        path: the same on every rank.
        may_change: whether it is the default of a new run, which takes the next default if this one is taken.
    """

    path: str
    may_change: bool


def run_files(models_root: str) -> Dict[str, str]:
    """Paths of the files and folders that a run leaves, by name."""
    return {name: os.path.join(models_root, file) for name, file in _FILES.items()}


def continue_series(config: Config, options: StartOptions, comm: Communicator) -> Tuple[Config, StartOptions]:
    """Configuration and options of a start that `--restarts` may have repeated, the same on every rank.

    If an earlier start of the same launch has a models root, this one continues there from the newest checkpoint; if
    there is none yet, it starts the run anew. Otherwise both are returned as they are: it starts like the first one.

    Raises:
        CollectiveError: on every rank, if rank 0 cannot read who has a models root.
    """
    own, begun = "", False
    with comm.raise_on_all_ranks():
        if comm.rank == 0:
            own = root_of_series([config.models_root] if config.models_root else _default_roots(config))
            begun = bool(own) and has_checkpoints(own)
    own, begun = comm.all_gather_object([own, begun])[0]
    if own and not begun and config.resume not in ("no", "auto"):
        return dataclasses.replace(config, models_root=own), options._replace(overwrite=True)
    return (dataclasses.replace(config, models_root=own, resume="auto") if own else config), options


def choose_models_root(config: Config, options: StartOptions, comm: Communicator) -> ChosenRoot:
    """The models root of a run, the same on every rank.

    The default is `models/DATASET-NETWORK-LOSS`, with -2, -3 ... appended while that has the results of a run, or a run
    is at work there; `--resume auto` takes the last one with results. For one's own records, DATASET is the name of
    their folder.

    Raises:
        CollectiveError: on every rank, if the folder named by --models-root has the results of another run, and neither
            `--resume auto` nor `--overwrite` is given.
    """
    may_change = not config.models_root and config.resume != "auto"
    with comm.raise_on_all_ranks():
        own = config.models_root or (_default_root(config) if comm.rank == 0 else "")
    models_root = comm.all_gather_object(own)[0]
    with comm.raise_on_all_ranks():
        _check_results(models_root, config, options)
        if options.overwrite and _lies_in(config.resume, models_root):
            raise InputError(f"--overwrite would remove what --resume {config.resume} starts from")
    return ChosenRoot(models_root, may_change)


@contextlib.contextmanager
def hold_models_root(
    chosen: ChosenRoot, config: Config, options: StartOptions, comm: Communicator
) -> Iterator[Tuple[str, Lock]]:
    """Context in which no other run uses the models root; gives its path and this rank's Lock.

    Rank 0 locks it, and on each host with a models root of its own, one rank of that host.

    Args:
        chosen: by `choose_models_root`; the next default is taken if it may change and a run is at work there.

    Raises:
        CollectiveError: on every rank, if another run is at work there, or has left results since it was chosen.
    """
    run = comm.all_gather_object(uuid.uuid4().hex)[0]
    lock: Optional[Lock] = None
    models_root = chosen.path
    try:
        with comm.raise_on_all_ranks():
            if comm.rank == 0:
                models_root, lock = _lock_first(chosen, config, options, run)
        models_root = comm.all_gather_object(models_root)[0]
        lock = lock or _lock(models_root, run)
        comm.at_end(lock.release)
        with comm.raise_on_all_ranks():
            if comm.rank and comm.local_rank == 0:
                lock.acquire(options.break_lock)
        with comm.raise_on_all_ranks():
            _check_results(models_root, config, options)
        yield models_root, lock
    finally:
        if lock:
            lock.release()


def _lock_first(chosen: ChosenRoot, config: Config, options: StartOptions, run: str) -> Tuple[str, Lock]:
    """Path and acquired Lock of the chosen root, or of the first free default if it may change."""
    models_root = chosen.path
    while True:
        lock = _lock(models_root, run)
        try:
            lock.acquire(options.break_lock)
        except Held:
            if not chosen.may_change:
                raise
        else:
            if not chosen.may_change or not _has_results(models_root):
                return models_root, lock
            lock.release()
        models_root = _default_root(config)


def _lock(models_root: str, run: str) -> Lock:
    remedy = "start with --break-lock"
    launch = os.environ.get("PARTIAL_FC_LAUNCH", "")
    return Lock(os.path.join(models_root, LOCK), remedy, run, launch)


def _check_results(models_root: str, config: Config, options: StartOptions) -> None:
    if _has_results(models_root) and config.resume != "auto" and not options.overwrite:
        raise InputError(
            f"--models-root {models_root}: has the results of another run: continue it with --resume auto, "
            "overwrite it with --overwrite, or name another folder"
        )


def open_models_root(
    run: Run, options: StartOptions, comm: Communicator, continues: bool, held: logging.handlers.MemoryHandler
) -> None:
    """Make the folder of a run that can start, remove an earlier run's results there, and write log and config.toml.

    What a killed run has left unfinished is removed, too.

    Args:
        continues: whether the run continues from a checkpoint.
        held: of `start_log`.

    Raises:
        CollectiveError: on every rank, if any of them cannot write.
    """
    auto = run.config.resume == "auto"
    with comm.raise_on_all_ranks():
        if comm.local_rank == 0:
            if options.overwrite and not (continues and auto):
                _clear(run.models_root)
            for pattern in _REPLACED:
                remove_unfinished(run.models_root, pattern)
    # Only now: on a shared file system the host that clears last would remove the new files of the first.
    with comm.raise_on_all_ranks():
        if comm.rank == 0:
            _begin(run, comm.world_size, held, append=auto)
        if run.config.published_files:
            open_published_log(run.models_root, comm.rank, append=auto)


def _begin(run: Run, world_size: int, held: logging.handlers.MemoryHandler, append: bool) -> None:
    files = run_files(run.models_root)
    try:
        os.makedirs(run.models_root, exist_ok=True)
        record_series(run.models_root)
        open_log(files["log"], held, append)
        write_config(files["config"], run.config, world_size)
    except OSError as error:
        raise InputError(f"--models-root {run.models_root}: cannot write there: {error}") from error


def has_checkpoints(models_root: str) -> bool:
    """Whether a models root has the folder of any checkpoint, complete or not."""
    folder = run_files(models_root)["checkpoints"]
    return os.path.isdir(folder) and any(name.startswith("update-") for name in os.listdir(folder))


def _clear(models_root: str) -> None:
    for name in _CHECKPOINTS:
        shutil.rmtree(run_files(models_root)[name], ignore_errors=True)
    for pattern in (*_RESULTS, *PATTERNS, "model-best-*", "events.out.tfevents.*"):
        for path in glob.glob(os.path.join(glob.escape(models_root), pattern)):
            if os.path.isfile(path):
                with contextlib.suppress(FileNotFoundError):  # another host removes the same files
                    os.remove(path)


def _default_base(config: Config) -> str:
    return os.path.join("models", "-".join((dataset_name(config), os.path.basename(config.network), config.loss)))


def _default_roots(config: Config) -> List[str]:
    """The default folders that there are."""
    base = _default_base(config)
    return [base, *sorted(glob.glob(f"{glob.escape(base)}-[0-9]*"))]


def _default_root(config: Config) -> str:
    base = _default_base(config)
    roots = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
    if config.resume == "auto":
        taken = list(itertools.takewhile(_has_results, roots))
        return taken[-1] if taken else base
    return next(root for root in roots if not _has_results(root) and not Lock(os.path.join(root, LOCK)).is_held())


def _has_results(models_root: str) -> bool:
    return any(os.path.exists(os.path.join(models_root, name)) for name in _RESULTS)


def _lies_in(path: str, folder: str) -> bool:
    path, folder = (os.path.join(os.path.realpath(each), "") for each in (path, folder))
    return path.startswith(folder)
