"""When a run saves, what it saves, and how it continues from there."""

import functools
import logging
import os
import time

from ..checkpoint.center_files import centers_file, load_centers, save_centers
from ..checkpoint.checkpoints import verified_manifest
from ..checkpoint.model_files import load_arrays, load_parameters, save_arrays, save_model
from ..distributed.lock import Held
from ..distributed.signals import SAVE, STOP, Stopped
from ..errors import CollectiveError, InputError
from ..head.partition import partition
from ..versions import versions
from .plan import busy_timeout
from .run_folder import run_files
from .run_state import RunState, check_about

log = logging.getLogger("partial_fc")

_MODEL, _MOMENTUM = "model", "momentum.safetensors"
_PARAMETERS = _MODEL + "-0000.params"
# What a checkpoint must have in common with the run that continues from it.
_SAME = ("num_classes", "embedding_size", "network", "net_output", "image_size")
# What may differ without a warning: it does not change what is computed.
# What may differ without a warning: it does not change what is computed.
_OF_THE_START = ("resume", "overwrite", "break_lock", "io_only", "models_root", "centers", "pretrained", "initializer")
# What runs did before there was a key to choose it: checkpoints without the key are of such a run.
_BEFORE_THE_KEY = {"bias_decay": False}


def statistics_file(rank, world_size):
    """Name of the file of one rank's batch statistics."""
    return f"statistics-{rank:05d}-of-{world_size:05d}.safetensors"


class Saver:
    """Callback that makes a checkpoint, and the model beside it, when it is time or somebody asks for it.

    Args:
        config: of the run.
        comm: communicator.
        module: FaceModule.
        checkpoints: Checkpoints.
        signals: Signals.
        progress: function without arguments; gives the RunState so far.
        lock: Lock of the models root.

    Raises:
        Stopped: on every rank, after it has saved because a rank was asked to end.
        CollectiveError: on every rank, if it cannot save at the end, or ever with `on_save_error=stop`; if another run
            has the models root now.
    """

    def __init__(self, config, comm, module, checkpoints, signals, progress, lock):
        self._config, self._comm, self._module, self._checkpoints = config, comm, module, checkpoints
        self._signals, self._progress, self._lock = signals, progress, lock
        self._last = self._start = time.monotonic()
        self._seconds = 0.0

    def requests(self):
        """What this rank asks for at the next update; rank 0 looks at the clock for all."""
        minutes = (time.monotonic() - self._last) / 60
        due = self._comm.rank == 0 and 0 < self._config.save_minutes <= minutes
        return self._signals.take() | (SAVE if due else 0)

    def __call__(self, report):
        ends = report.num_update == self._config.max_update or report.requests & STOP
        if ends or report.requests & SAVE or report.num_update % self._config.save_interval == 0:
            self._save(report, ends)
        if report.requests & STOP and report.num_update < self._config.max_update:
            raise Stopped(f"update {report.num_update}: ended by a signal; --resume auto continues from here")

    def _save(self, report, ends):
        self._comm.agree(self._lost())
        start = time.monotonic()
        try:
            self._write(report)
        except CollectiveError as error:
            if ends or self._config.on_save_error == "stop":
                raise CollectiveError(f"update {report.num_update}: cannot be saved: {error}", error.status) from error
            if self._comm.rank == 0:
                log.error("NOT SAVED at update %d, the training continues: %s", report.num_update, error)
        else:
            self._log(report.num_update, time.monotonic() - start)
        self._last = time.monotonic()

    def _lost(self):
        """Which run has taken over the models root; None if none has."""
        try:
            self._lock.keep()
        except Held as error:
            return str(error)
        except OSError:  # it cannot be locked again: nor can anything be saved there, which is reported then
            pass
        return None

    def _write(self, report):
        module = self._module
        statistics = module.averaged_statistics()
        about = dict(configuration=dict(self._config), versions=versions(), progress=self._progress().to_json())
        write = functools.partial(_write_files, module=module, comm=self._comm, statistics=statistics)
        with self._comm.busy(f"saving update {report.num_update}", busy_timeout(self._config, self._comm.world_size)):
            self._checkpoints.save(report.num_update, write, about)
        with self._comm.raise_on_all_ranks():
            if self._comm.rank == 0:
                prefix = run_files(self._config.models_root)["model"]
                save_model(prefix, module.symbol, module.arg_params, statistics)

    def _log(self, num_update, seconds):
        self._seconds += seconds
        share = self._seconds / (time.monotonic() - self._start)
        path = self._checkpoints.path(num_update)
        log.info("update %d  saved in %.1f s, %.1f%% of the time so far: %s", num_update, seconds, 100 * share, path)


def _write_files(folder, module, comm, statistics):
    """Write this rank's files of a checkpoint; returns their names."""
    names = save_centers(folder, module.head.bank, comm.world_size)
    if module.aux_params:
        names.append(statistics_file(comm.rank, comm.world_size))
        save_arrays(os.path.join(folder, names[-1]), module.aux_params)
    if comm.rank == 0:
        save_model(os.path.join(folder, _MODEL), module.symbol, module.arg_params, statistics)
        save_arrays(os.path.join(folder, _MOMENTUM), module.momentum)
        names += [_MODEL + "-symbol.json", _PARAMETERS, _MOMENTUM]
    return names


def find_checkpoint(config, comm, checkpoints):
    """The checkpoint that `config.resume` asks for.

    Returns:
        path and manifest; None for a run that starts anew.

    Raises:
        CollectiveError: on every rank, if there is none at a path, if it is damaged, or of another network.
    """
    if config.resume == "no":
        return None
    needs = functools.partial(_needs, config, comm)
    if config.resume == "auto":
        return checkpoints.newest(needs)
    with comm.raise_on_all_ranks():
        manifest = verified_manifest(config.resume, needs)
    return config.resume, manifest


def _needs(config, comm, manifest):
    """Names of the files that this rank reads from a checkpoint.

    Raises:
        Damaged: the manifest lacks what every run saves, or has it of another type.
        InputError: if it is of other classes, embedding size or network.
    """
    check_about(manifest)
    saved, rank, old_size = manifest["configuration"], comm.rank, manifest["world_size"]
    for key in _SAME:
        if saved.get(key) != config[key]:
            raise InputError(
                f"--resume {config.resume}: the checkpoint of update {manifest['num_update']} has {key} "
                f"{str(saved.get(key)):.80}, this run {config[key]}: use the same, or start anew with --resume no and "
                "another --models-root"
            )
    if manifest["num_update"] > config.max_update:
        raise InputError(
            f"--resume {config.resume}: the checkpoint is of update {manifest['num_update']}, max_update is "
            f"{config.max_update}: raise it with --set max_update=N"
        )
    names = [_PARAMETERS, _MOMENTUM] if rank == 0 else []
    if comm.world_size == old_size and statistics_file(rank, old_size) in manifest["files"]:
        names.append(statistics_file(rank, old_size))
    start, end = partition(config.num_classes, comm.world_size, rank)
    for old_rank in range(old_size):
        old = partition(config.num_classes, old_size, old_rank)
        if max(start, old.class_start) < min(end, old.class_end):
            names.append(centers_file(old_rank, old_size))
    return names


def restore(path, manifest, module, config, comm):
    """Fill backbone, momentum and centers from a checkpoint, whatever ranks have written it.

    Returns:
        RunState of the run that saved it.

    Raises:
        CollectiveError: on every rank, if any cannot read it.
    """
    with comm.raise_on_all_ranks():
        if comm.rank == 0:
            file = os.path.join(path, _PARAMETERS)
            missing, surplus = load_parameters(file, {**module.arg_params, **module.aux_params})
            if missing or surplus:
                raise InputError(
                    f"{file}: not of this network, which {'lacks' if surplus else 'has'} {(surplus + missing)[0]}"
                )
            load_arrays(os.path.join(path, _MOMENTUM), module.momentum)
        load_centers(path, module.head.bank)
    module.broadcast_parameters()
    module.broadcast_momentum()
    with comm.raise_on_all_ranks():
        if comm.world_size == manifest["world_size"] and module.aux_params:
            load_arrays(os.path.join(path, statistics_file(comm.rank, comm.world_size)), module.aux_params)
    if comm.rank == 0:
        ranks = manifest["world_size"]
        log.info("continuing from update %d, saved by %d ranks: %s", manifest["num_update"], ranks, path)
        _log_differences(manifest, config, comm)
        if manifest["num_update"] == config.max_update:
            log.warning("nothing is left to train: max_update is %d; raise it to continue", config.max_update)
    return RunState.from_json(manifest["progress"])


def _log_differences(manifest, config, comm):
    saved = {**_BEFORE_THE_KEY, **manifest["configuration"]}
    for key in sorted(set(config) - set(_OF_THE_START)):
        if key in saved and saved[key] != config[key]:
            log.warning("%s is %s now, it was %s", key, config[key], saved[key])
    before, now = manifest["world_size"] * saved["batch_size"], comm.world_size * config.batch_size
    if before != now:
        log.warning("an update has %d images now, it had %d: lr_steps and max_update still count updates", now, before)
    for name, version in versions().items():
        if manifest["versions"].get(name) != version:
            log.warning("the version of %s is %s now, it was %s", name, version, manifest["versions"].get(name))
