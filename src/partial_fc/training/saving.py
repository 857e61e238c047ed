"""Checkpoints of a run: when they are saved, and with which files."""

import functools
import logging
import os
import shutil
import time
from typing import Callable, Dict, List, Optional, Protocol

import mxnet as mx

from ..checkpoint.center_files import save_centers
from ..checkpoint.checkpoints import Checkpoints
from ..checkpoint.model_files import save_arrays, save_model
from ..config import Run
from ..distributed.communicator import Communicator
from ..distributed.lock import Held, Lock
from ..distributed.signals import SAVE, STOP, Signals, Stopped
from ..errors import CollectiveError
from ..planning.memory import busy_timeout
from .module import FaceModule
from .published_files import save_published_files
from .run_folder import run_files
from .run_state import RunState
from .update_stats import UpdateStats
from .versions import versions

log = logging.getLogger("partial_fc")

_MODEL, MOMENTUM = "model", "momentum.safetensors"
PARAMETERS = _MODEL + "-0000.params"
BEST = "model-best-0000.params"  # of the best model so far, see `BestModel`


class Ended(Exception):
    """The training ends before its last update, and has saved a checkpoint."""


def statistics_file(rank: int, world_size: int) -> str:
    """Name of the file of one rank's batch statistics."""
    return f"statistics-{rank:05d}-of-{world_size:05d}.safetensors"


class EndsEarly(Protocol):
    """Something that may end the training, such as BestModel."""

    @property
    def ends(self) -> bool:
        """Whether it ends with this update."""
        ...


class Saver:
    """Callback that saves a checkpoint, and the model beside it, when it is time or a signal asks for it.

    Args:
        run: Run.
        comm: communicator.
        module: FaceModule.
        checkpoints: Checkpoints.
        signals: Signals.
        progress: gives the RunState so far.
        lock: of the models root.
        max_update: updates of the run.
        early: whose `ends` says whether training ends with this update; None for never.

    Raises:
        Ended: on every rank, after it has saved because training ends early.
        Stopped: on every rank, after it has saved because a rank was asked to end.
        CollectiveError: on every rank, if it cannot save at the end, or at any time with `on_save_error=stop`; if
            another run has taken the models root.
    """

    def __init__(
        self,
        run: Run,
        comm: Communicator,
        module: FaceModule,
        checkpoints: Checkpoints,
        signals: Signals,
        progress: Callable[[], RunState],
        lock: Lock,
        max_update: int,
        early: Optional[EndsEarly] = None,
    ):
        self._run, self._config, self._max_update, self._early = run, run.config, max_update, early
        self._comm, self._module, self._checkpoints = comm, module, checkpoints
        self._signals, self._progress, self._lock = signals, progress, lock
        self._last = self._start = time.monotonic()
        self._seconds = 0.0

    def requests(self) -> int:
        """Requests of this rank for the next update, SAVE and STOP as bits; rank 0 keeps the time for all ranks."""
        minutes = (time.monotonic() - self._last) / 60
        due = self._comm.rank == 0 and 0 < self._config.save_minutes <= minutes
        return self._signals.take() | (SAVE if due else 0)

    def __call__(self, stats: UpdateStats) -> None:
        finished = stats.num_update == self._max_update or (self._early is not None and self._early.ends)
        ends = finished or bool(stats.requests & STOP)
        if ends or stats.requests & SAVE or stats.num_update % self._config.save_interval == 0:
            self._save(stats, ends)
        if finished and stats.num_update < self._max_update:
            raise Ended
        if ends and not finished:
            raise Stopped(f"update {stats.num_update}: ended by a signal; --resume auto continues from here")

    def _save(self, stats: UpdateStats, ends: bool) -> None:
        self._comm.agree(self._lost())
        start = time.monotonic()
        try:
            self._write(stats)
        except CollectiveError as error:
            if ends or self._config.on_save_error == "stop":
                raise CollectiveError(f"update {stats.num_update}: cannot be saved: {error}", error.status) from error
            if self._comm.rank == 0:
                path = self._checkpoints.path(stats.num_update)
                log.error("could not write %s: %s; training continues", path, error)
        else:
            self._log(stats.num_update, time.monotonic() - start)
        self._last = time.monotonic()

    def _lost(self) -> Optional[str]:
        """The error of a models root that another run has taken over; None if none has."""
        try:
            self._lock.keep()
        except Held as error:
            return str(error)
        except OSError:  # it cannot be locked again: saving will fail, too, and is reported
            pass
        return None

    def _write(self, stats: UpdateStats) -> None:
        run, module, num_update = self._run, self._module, stats.num_update
        statistics = save_checkpoint(self._checkpoints, run, self._comm, module, num_update, self._progress())
        with self._comm.busy(f"saving the model of update {num_update}", busy_timeout(run, self._comm.world_size)):
            with self._comm.raise_on_all_ranks():
                if self._comm.rank == 0:
                    save_model(run_files(run.models_root)["model"], module.symbol, module.arg_params, statistics)
            if self._config.published_files:
                path = self._checkpoints.path(num_update)
                save_published_files(run.models_root, path, self._comm, module, statistics)
                self._comm.agree(None)  # wait here: Horovod ends a run in which ranks wait for its next collective

    def _log(self, num_update: int, seconds: float) -> None:
        self._seconds += seconds
        share = self._seconds / (time.monotonic() - self._start)
        path = self._checkpoints.path(num_update)
        log.info("update %d  saved in %.1f s, %.1f%% of the time so far: %s", num_update, seconds, 100 * share, path)


def save_checkpoint(
    checkpoints: Checkpoints, run: Run, comm: Communicator, module: FaceModule, num_update: int, progress: RunState
) -> Dict[str, mx.nd.NDArray]:
    """Save a checkpoint of a run after update `num_update`, its last one so far.

    Returns:
        the statistics of batch normalization in its model, averages over the ranks.

    Raises:
        CollectiveError: on every rank, if any could not write.
    """
    statistics = module.averaged_statistics()
    about = dict(configuration=run.settings(), versions=versions(), progress=progress.to_json())
    about.update(margin=module.head.margin.state_dict(), precision=module.precision)
    best = run_files(run.models_root)["best"] + "-0000.params" if progress.kept else ""
    write = functools.partial(_write_files, module=module, comm=comm, statistics=statistics, best=best)
    with comm.busy(f"saving update {num_update}", busy_timeout(run, comm.world_size)):
        checkpoints.save(num_update, write, about)
    return statistics


def _write_files(
    folder: str, module: FaceModule, comm: Communicator, statistics: Dict[str, mx.nd.NDArray], best: str
) -> List[str]:
    """Write this rank's files of a checkpoint; returns their names."""
    names = save_centers(folder, module.head.bank, comm.world_size)
    if module.aux_params:
        names.append(statistics_file(comm.rank, comm.world_size))
        save_arrays(os.path.join(folder, names[-1]), module.aux_params)
    if comm.rank == 0:
        save_model(os.path.join(folder, _MODEL), module.symbol, module.arg_params, statistics)
        save_arrays(os.path.join(folder, MOMENTUM), module.momentum)
        names += [_MODEL + "-symbol.json", PARAMETERS, MOMENTUM]
        if os.path.isfile(best):
            _link(best, os.path.join(folder, BEST))
            names.append(BEST)
    return names


def _link(path: str, new: str) -> None:
    """Give a file, which is only ever replaced, a second name; copy it where the file system has no links."""
    try:
        os.link(path, new)
    except OSError:
        shutil.copyfile(path, new)
