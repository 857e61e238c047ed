"""The paths of a configuration, checked before anything is drawn, read or written."""

import os
import shlex

from ..checkpoint.checkpoints import MANIFEST
from ..checkpoint.model_files import check_exists, model_paths
from ..config import Config, load_presets, own_records
from ..errors import InputError
from .pretrained import open_centers
from .run_folder import has_checkpoints


def check_paths(config: Config, models_root: str, rank: int) -> None:
    """Raise InputError for a path of a run that this rank cannot use; the message begins with its option."""
    check_records(config)
    if not (config.resume == "auto" and has_checkpoints(models_root)):
        _check_start(config, rank)
    if config.resume not in ("no", "auto"):
        _check_checkpoint(config.resume)
    if config.bank_dir:
        _check_folder(config.bank_dir, "--bank-dir")
    _check_folder(models_root, "--models-root")


def _check_start(config: Config, rank: int) -> None:
    """Model and centers that a new run starts from; a run that continues from a checkpoint does not need them."""
    if config.pretrained and rank == 0:
        check_exists(model_paths(config.pretrained)[1], config.pretrained, "--pretrained")
    if config.centers:
        open_centers(config.centers)


def check_records(config: Config) -> None:
    """Raise InputError, which begins with the option, if the record file is missing."""
    path, folder = config.rec, os.path.dirname(config.rec)
    if config.source == "demo" and not os.path.isdir(folder):
        _check_folder(folder, "folder of the demo's faces")
    if config.source != "records" or os.path.isfile(path):
        return
    if not own_records(config):
        remedy = (
            f"set $PARTIAL_FC_DATA to the folder that has {os.path.basename(folder)}/, or name the file: "
            "--rec PATH/train.rec"
        )
        how = getattr(load_presets(config.presets), "RECORDS", {}).get(config.dataset)
        remedy = how.format(folder=shlex.quote(folder)) if how else remedy
        raise InputError(f"--dataset {config.dataset}: no file {path}: {remedy}")
    inside = os.path.join(path, "train.rec")
    if os.path.isfile(inside):
        raise InputError(f"--rec {path}: a folder; name the file {inside}")
    raise InputError(f"--rec {path}: {'a folder without train.rec' if os.path.isdir(path) else 'no such file'}")


def _check_checkpoint(path: str) -> None:
    if os.path.isfile(os.path.join(path, MANIFEST)):
        return
    for folder in (path, os.path.join(path, "checkpoints")):
        names = sorted(name for name in (os.listdir(folder) if os.path.isdir(folder) else ()) if name[:7] == "update-")
        if names:
            newest = os.path.join(folder, names[-1])
            raise InputError(f"--resume {path}: has several checkpoints; name one, such as {newest}")
    problem = "not a checkpoint, it has no " + MANIFEST if os.path.isdir(path) else "no such folder"
    raise InputError(f"--resume {path}: {problem}; `auto` takes the newest checkpoint in the models root")


def _check_folder(path: str, option: str) -> None:
    """Raise InputError unless a folder exists or can be made, and can be written to."""
    there = os.path.abspath(path)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise InputError(f"{option} {path}: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{option} {path}: no permission to write to {there}")
