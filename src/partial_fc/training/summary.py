"""The end of a run: `summary.json` with what it reached and where its files are, and the picture of its curves."""

import json
import os
from typing import Any, Dict, Mapping

from ..config import Run, dataset_name
from ..files import atomic_path
from .callbacks import LossLog, Verification
from .curves import draw_curves
from .run_folder import run_files


def leave_results(
    run: Run, world_size: int, losses: LossLog, pixels: Mapping[str, float], verification: Verification
) -> Dict[str, Any]:
    """Draw the curves, and write `summary.json`; returns what `write_summary` does."""
    files = run_files(run.models_root)
    draw_curves(files["curves"], losses.path, verification.history, run.config.lr_steps)
    return write_summary(run, world_size, losses, pixels, verification, files)


def write_summary(
    run: Run,
    world_size: int,
    losses: LossLog,
    pixels: Mapping[str, float],
    verification: Verification,
    files: Mapping[str, str],
) -> Dict[str, Any]:
    """Write `summary.json` into the models root; returns its content.

    `accuracy_pixels`, `accuracy_untrained` (before the first update), `accuracy` and `accuracy_best`, which was reached
    at `best_update`, are those on the first verification set, null without one; `verification` has all sets.

    Args:
        losses: after the last update.
        pixels: accuracy of raw pixels by verification set.
        verification: its history begins before the first update and ends after the last one.
        files: paths by name.
    """
    summary = _results(run, world_size, losses, files)
    measured = _measured(pixels, verification)
    first = run.config.val_targets[0] if run.config.val_targets else None
    summary.update({key: by_set.get(first) for key, by_set in measured.items()})
    summary["verification"] = {
        name: {key: by_set.get(name) for key, by_set in measured.items()} for name in run.config.val_targets
    }
    with atomic_path(os.path.join(run.models_root, "summary.json")) as path, open(path, "w") as file:
        json.dump(summary, file, indent=2)
        file.write("\n")
    return summary


def _results(run: Run, world_size: int, losses: LossLog, files: Mapping[str, str]) -> Dict[str, Any]:
    assert losses.first is not None
    settings = run.settings()
    return dict(
        {key: settings[key] for key in ("network", "loss", "sample_ratio", "seed", "num_classes")},
        dataset=dataset_name(run.config),
        ranks=world_size,
        updates=losses.last.num_update,
        first_loss=losses.first.loss,
        last_loss=losses.last.loss,
        train_seconds=round(losses.last.seconds, 2),
        images_per_second=round(losses.images_per_second, 1),
        files=files,
    )


def _measured(pixels: Mapping[str, float], verification: Verification) -> Dict[str, Mapping[Any, Any]]:
    """By key of the summary, its values by verification set."""
    return dict(
        accuracy_pixels=pixels,
        accuracy_untrained=verification.history[0][1],
        accuracy=verification.history[-1][1],
        accuracy_best={name: accuracy for name, (accuracy, _) in verification.best.items()},
        best_update={name: num_update for name, (_, num_update) in verification.best.items()},
    )
