"""The state of a run, read from its folder: also while it trains, or after it ended without a summary."""

import logging
import os
import re
from statistics import median
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from ..checkpoint.checkpoints import Checkpoints
from ..distributed.communicator import Communicator
from ..errors import InputError
from ..files import read_json
from ..training.config_file import read_toml
from ..training.curves import read_losses
from ..training.run_folder import run_files
from ..training.run_state import check_about
from .checks import number
from .scalars import Series, read_scalars

log = logging.getLogger("partial_fc")

SUMMARY, LOSSES = "summary.json", "losses.csv"
ACCURACY = "accuracy/"  # begins the names of scalars that are accuracies
_SKIPPED = re.compile(r"^[0-9-]+ [0-9:,]+ (skipped: .*)$")
_OBJECTS = "verification", "files", "best_model"  # in the summary
_NUMBERS = (  # in the summary; each may be missing, or null
    "num_classes",
    "embedding_size",
    "image_size",
    "sample_ratio",
    "ranks",
    "updates",
    "continued_from",
    "first_loss",
    "last_loss",
    "train_seconds",
    "images_per_second",
    "skipped_records",
)
_LONGEST = 2000  # characters of a line of the log


class RunFolder(NamedTuple):
    """What the folder of a run shows.

    Attributes:
        path: of the folder, as it was given.
        finished: whether the run has left its summary.
        settings: configuration by key; empty if the run has left none.
        about: as `summary.json`, see `training.summary.leave_results`; lacks what is not known yet.
        updates, losses: (n,) of every update.
        scalars: as TensorBoard shows them.
        versions: of libraries, by name.
        skipped: lines of the log on records that rank 0 has skipped.
    """

    path: str
    finished: bool
    settings: Dict[str, Any]
    about: Dict[str, Any]
    updates: np.ndarray
    losses: np.ndarray
    scalars: Dict[str, Series]
    versions: Dict[str, Any]
    skipped: List[str]


def is_run(folder: str) -> bool:
    """Whether a folder has the files of a run."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in (SUMMARY, LOSSES))


def read_run(folder: str) -> RunFolder:
    """Read the folder of a run.

    Raises:
        InputError: a file in it is not what a run writes; the message names the file.
        OSError: a file cannot be read.
    """
    files = run_files(folder)
    config, manifest = files["config"], _newest_manifest(files["checkpoints"])
    settings = read_toml(config) if os.path.isfile(config) else manifest.get("configuration", {})
    updates, losses = _losses(os.path.join(folder, LOSSES))
    scalars = read_scalars(folder)
    summary = os.path.join(folder, SUMMARY)
    finished = os.path.isfile(summary)
    known = {"ranks": manifest.get("world_size"), "precision": manifest.get("precision"), "seed": settings.get("seed")}
    known.update(_measured(updates, losses, scalars))
    for name in ("dataset", "network", "loss", "num_classes", "embedding_size", "image_size", "sample_ratio"):
        known[name] = {**settings, **manifest.get("configuration", {})}.get(name)
    known["num_classes"] = known["num_classes"] or None  # a configuration may leave it to the records
    about = {**known, **(_summary(summary) if finished else {})}
    lines = _skipped(files["log"])
    return RunFolder(folder, finished, settings, about, updates, losses, scalars, manifest.get("versions", {}), lines)


def _losses(path: str) -> Any:
    return read_losses(path) if os.path.isfile(path) else (np.empty(0, np.int64), np.empty(0))


def _newest_manifest(folder: str) -> Dict[str, Any]:
    """The manifest of the newest checkpoint; empty without one."""
    try:
        newest = Checkpoints(folder, Communicator(), keep=1).newest(_no_files)
    except InputError as error:
        log.warning("%s", error)
        return {}
    return newest[1] if newest else {}


def _no_files(manifest: Dict[str, Any]) -> Tuple[str, ...]:
    """What the page needs of a checkpoint: its manifest alone."""
    check_about(manifest)
    return ()


def _measured(updates: np.ndarray, losses: np.ndarray, scalars: Dict[str, Series]) -> Dict[str, Any]:
    """The results of an unfinished run so far, by the names of the summary."""
    sets = {name[len(ACCURACY) :]: each for name, each in scalars.items() if name.startswith(ACCURACY) and each.values}
    found: Dict[str, Any] = {"verification": {name: _accuracies(each) for name, each in sets.items()}}
    if len(updates):
        found.update(updates=int(updates[-1]), first_loss=float(losses[0]), last_loss=float(losses[-1]))
    rates = scalars.get("images_per_second")
    if rates and rates.values:
        found["images_per_second"] = median(rates.values)
    return found


def _accuracies(series: Series) -> Dict[str, Optional[float]]:
    best = max(range(len(series.values)), key=series.values.__getitem__)  # the first of equals
    return {
        "accuracy_untrained": series.values[0] if series.updates[0] == 0 else None,
        "accuracy": series.values[-1],
        "accuracy_best": series.values[best],
        "best_update": series.updates[best],
    }


def _summary(path: str) -> Dict[str, Any]:
    """`summary.json`, checked as far as the page relies on it."""
    found = read_json(path)
    if not isinstance(found, dict) or not all(isinstance(found.get(name, {}), dict) for name in _OBJECTS):
        raise InputError(f"{path}: not the summary of a run")
    sets = list(found.get("verification", {}).values())
    for each in [{name: value for name, value in found.items() if name not in _OBJECTS}, *sets]:
        if not isinstance(each, dict) or any(isinstance(value, (list, dict)) for value in each.values()):
            raise InputError(f"{path}: {each!r:.80} is not in the summary of a run")
    for name in _NUMBERS:
        try:
            number(0 if found.get(name) is None else found[name])
        except ValueError as error:
            raise InputError(f"{path}: {name}: {error}") from error
    return found


def _skipped(path: str) -> List[str]:
    """The lines on skipped records, each once; a run that continues may meet a record again."""
    if not os.path.isfile(path):
        return []
    with open(path, encoding="utf-8", errors="backslashreplace") as file:
        lines = iter(lambda: file.readline(_LONGEST), "")
        return list(dict.fromkeys(match[1] for match in map(_SKIPPED.match, lines) if match))
