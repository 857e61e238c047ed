"""The models root of a run: which folder it is, and where in it is what."""

import glob
import itertools
import os
import shutil

from .config import dataset_name
from .errors import InputError

_FILES = dict(model="model", checkpoints="checkpoints", log="train.log", curves="curves.png")
# Any of these shows that there was a run.
_RESULTS = "checkpoints", "model-0000.params", "losses.csv", "summary.json"


def run_files(models_root):
    """Where a run leaves what, by name."""
    return {name: os.path.join(models_root, file) for name, file in _FILES.items()}


def choose_models_root(config, comm):
    """Set `config.models_root`, the same on every rank.

    The default is `models/DATASET-NETWORK-LOSS`, or if that has the results of a run already, the same with -2, -3 ...
    after it; `--resume auto` takes the last of these. One's own records have the name of their folder for DATASET.

    Raises:
        AgreedError: on every rank, if the folder that was asked for has the results of another run, and neither
            `--resume auto` nor `--overwrite` is given.
    """
    default = comm.all_gather_object(_default_root(config))[0]
    config.models_root = config.models_root or default
    with comm.together():
        if _has_results(config.models_root) and config.resume != "auto" and not config.overwrite:
            raise InputError(
                f"--models-root {config.models_root}: has the results of another run: continue it with --resume auto, "
                "overwrite it with --overwrite, or name another folder"
            )
        if config.overwrite and _lies_in(config.resume, config.models_root):
            raise InputError(f"--overwrite would remove what --resume {config.resume} starts from")


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
    taken = list(itertools.takewhile(_has_results, roots))
    if config.resume == "auto":
        return taken[-1] if taken else base
    return f"{base}-{len(taken) + 1}" if taken else base


def _has_results(models_root):
    return any(os.path.exists(os.path.join(models_root, name)) for name in _RESULTS)


def _lies_in(path, folder):
    path, folder = (os.path.join(os.path.realpath(each), "") for each in (path, folder))
    return path.startswith(folder)
