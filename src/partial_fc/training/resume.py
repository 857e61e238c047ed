"""How a run continues from a checkpoint: which one, whether it fits, and what comes from it."""

import functools
import logging
import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from ..checkpoint.center_files import centers_file, load_centers
from ..checkpoint.checkpoints import Checkpoints, manifest_checksum, verified_manifest
from ..checkpoint.model_files import load_arrays, load_parameters
from ..config import Run
from ..config_keys import KEYS
from ..distributed.agreement import compare
from ..distributed.communicator import Communicator
from ..errors import InputError
from ..head.partition import partition
from .module import FaceModule
from .run_state import RunState, check_about, images_per_update, state_in
from .saving import BEST, MOMENTUM, PARAMETERS, statistics_file
from .schedules import Timeline
from .versions import versions

log = logging.getLogger("partial_fc")

# Keys that must be the same in a checkpoint and in the run that continues from it.
_NETWORK = ("network", "net_name", "num_layers", "net_unit", "net_se", "net_act", "net_input", "net_output")
_SAME = ("num_classes", "embedding_size", "sub_centers", *_NETWORK, "image_size", "optimizer", "center_optimizer")
# Keys that may differ without a warning: they do not change how training continues.
_MAY_DIFFER = {"initializer", "workspace", "memonger", "published_files"}
_MAY_DIFFER |= {key for key, entry in KEYS.items() if entry.start}
# Values of keys that older checkpoints lack: what all runs did before there was the key.
_BEFORE_THE_KEY = {
    "bias_decay": False,
    "net_name": "",
    "num_layers": 0,
    "net_unit": 3,
    "net_se": 0,
    "net_act": "prelu",
    "net_input": 1,
    "bn_mom": 0.9,
    "precision": "float32",
    "margin_warmup": 0,
    "sub_centers": 1,
    "interclass_filtering": 0.0,
    "interclass_filtering_mode": "exact",
    "sampling_correction": False,
    "adaface_m": 0.0,
    "adaface_h": 0.333,
    "adaface_t_alpha": 0.01,
    "accumulate": 1,
    "optimizer": "sgd",
    "center_optimizer": "sgd",
    "clip_gradient_norm": 0.0,
    "freeze": [],
    "freeze_bn": False,
    "freeze_centers": False,
    "lr_mult": [],
    "wd_mult": [],
    "lr_schedule": "multistep",
    "warmup_updates": 0,
    "max_epochs": 0,
}


class Checkpoint(NamedTuple):
    """A checkpoint of which no rank lacks anything.

    Attributes:
        path: of its folder.
        manifest: see `Checkpoints.save`.
    """

    path: str
    manifest: Dict[str, Any]


def find_checkpoint(run: Run, comm: Communicator, checkpoints: Checkpoints) -> Optional[Checkpoint]:
    """The checkpoint that the key `resume` asks for; None for a new run.

    Args:
        run: this one.
        comm: communicator.
        checkpoints: of its models root.

    Raises:
        CollectiveError: on every rank, if there is none at a path, if it is damaged, or of another network; if ranks
            have different ones.
    """
    resume = run.config.resume
    if resume == "no":
        return None
    needs = functools.partial(_needs, run, comm)
    if resume == "auto":
        newest = checkpoints.newest(needs)
        if newest is None:
            return None
        path, manifest = newest
    else:
        path = resume
        with comm.raise_on_all_ranks():
            manifest = verified_manifest(path, needs)
    # Hosts without a shared file system may have checkpoints of several runs at one path.
    name = f"the checkpoint {os.path.basename(os.path.normpath(path))}"
    compare("the checksum", {name: manifest_checksum(manifest)[:8]}, comm)
    return Checkpoint(path, manifest)


def _needs(run: Run, comm: Communicator, manifest: Dict[str, Any]) -> List[str]:
    """Names of the files that this rank reads from a checkpoint.

    Raises:
        Damaged: the manifest lacks what every run saves, or has it of another type.
        InputError: if it is of other classes, embedding size or network.
    """
    check_about(manifest)
    _check_fits(run, comm.world_size, manifest)
    rank, old_size = comm.rank, manifest["world_size"]
    names = [PARAMETERS, MOMENTUM] if rank == 0 else []
    if rank == 0 and BEST in manifest["files"]:
        names.append(BEST)
    if comm.world_size == old_size and statistics_file(rank, old_size) in manifest["files"]:
        names.append(statistics_file(rank, old_size))
    start, end = partition(run.num_classes, comm.world_size, rank)
    for old_rank in range(old_size):
        old = partition(run.num_classes, old_size, old_rank)
        if max(start, old.class_start) < min(end, old.class_end):
            names.append(centers_file(old_rank, old_size))
    return names


def _timeline(run: Run, world_size: int, state: RunState) -> Timeline:
    return Timeline(run, images_per_update(run.settings(), world_size), state.done)


def _check_fits(run: Run, world_size: int, manifest: Dict[str, Any]) -> None:
    saved, now = ({**_BEFORE_THE_KEY, **each} for each in (manifest["configuration"], run.settings()))
    resume = run.config.resume
    for key in _SAME:
        if saved.get(key) != now[key]:
            raise InputError(
                f"--resume {resume}: the checkpoint of update {manifest['num_update']} has {key} "
                f"{str(saved.get(key)):.80}, this run {now[key]}: use the same, or start a new run with "
                "--resume no and another --models-root"
            )
    max_update = _timeline(run, world_size, state_in(manifest)).max_update
    if manifest["num_update"] > max_update:
        raise InputError(
            f"--resume {resume}: the checkpoint is of update {manifest['num_update']}, max_update is {max_update}: "
            f"raise it with --set {_length(run)}=N"
        )


def _length(run: Run) -> str:
    """The key that says how long the run is."""
    return "max_epochs" if run.config.max_epochs else "max_update"


def restore(found: Checkpoint, module: FaceModule, run: Run, comm: Communicator) -> RunState:
    """Fill backbone, momentum and centers from a checkpoint, whatever number of ranks has written it.

    Returns:
        RunState of the run that saved it.

    Raises:
        CollectiveError: on every rank, if any cannot read it.
    """
    path, manifest = found
    state = state_in(manifest)
    with comm.raise_on_all_ranks():
        if comm.rank == 0:
            skipped = state.last.loss_scale["skipped"] if state.last.loss_scale else 0
            _load_backbone(path, module, state.last.num_update - int(skipped))
        load_centers(path, module.head.bank)
    module.broadcast_parameters()
    module.broadcast_momentum()
    with comm.raise_on_all_ranks():
        if comm.world_size == manifest["world_size"] and module.aux_params:
            _load_statistics(os.path.join(path, statistics_file(comm.rank, comm.world_size)), module)
    if comm.rank == 0:
        log.info(
            "continuing from update %d, saved by %d ranks: %s", state.last.num_update, manifest["world_size"], path
        )
        _log_differences(manifest, run.settings(), comm.world_size, module.precision)
        if state.last.num_update == _timeline(run, comm.world_size, state).max_update:
            key = _length(run)
            log.warning("nothing is left to train: %s is %d; raise it to continue", key, getattr(run.config, key))
    if manifest.get("margin"):  # what runs before 0.3 and most losses have not
        module.head.margin.load(manifest["margin"])
    return state


def _load_backbone(path: str, module: FaceModule, done: int) -> None:
    """Load parameters and momentum; `done` updates were done, without those that were skipped."""
    file = os.path.join(path, PARAMETERS)
    missing, surplus = load_parameters(file, {**module.arg_params, **module.aux_params})
    if missing or surplus:
        raise InputError(f"{file}: not of this network, which {'lacks' if surplus else 'has'} {(surplus + missing)[0]}")
    # Parameters that were frozen until now have no momentum in the file; those that are frozen now need none.
    missing = load_arrays(os.path.join(path, MOMENTUM), module.momentum, optional=module.momentum_names)
    module.begin_momentum(missing, done)


def _load_statistics(file: str, module: FaceModule) -> None:
    """Load this rank's statistics; frozen ones keep the average over the ranks that came with the parameters."""
    frozen = {name: array.copy() for name, array in module.aux_params.items() if name in module.frozen}
    load_arrays(file, module.aux_params)
    for name, array in frozen.items():
        array.copyto(module.aux_params[name])


def _log_differences(manifest: Dict[str, Any], settings: Mapping[str, Any], world_size: int, precision: str) -> None:
    saved = {**_BEFORE_THE_KEY, **manifest["configuration"]}
    before = manifest.get("precision", saved["precision"])
    if before != "auto":  # versions before 0.3 do not save what that has chosen
        saved, settings = {**saved, "precision": before}, {**settings, "precision": precision}
    for key in sorted(set(settings) - _MAY_DIFFER):
        if key in saved and saved[key] != settings[key]:
            log.warning("%s changed to %s (was %s)", key, settings[key], saved[key])
    before = images_per_update(saved, manifest["world_size"])
    now = images_per_update(settings, world_size)
    if before != now:
        counts = {
            "updates": "the schedule still counts updates; --set lr_unit=images makes it count images",
            "images": "the schedule counts images and stays in place",
        }
        log.warning("images per update changed to %d (was %d): %s", now, before, counts[settings["lr_unit"]])
    for name, version in versions().items():
        if manifest["versions"].get(name) != version:
            log.warning("version of %s changed to %s (was %s)", name, version, manifest["versions"].get(name))
