"""The end of a run: `summary.json` with what it reached and where its files are, and the picture of its curves."""

import os
from typing import Any, Dict, Mapping, Sequence

from ..checkpoint.model_files import model_paths
from ..config import Run, dataset_name
from ..files import write_json
from .best_model import BestModel
from .callbacks import LossLog, Verification
from .curves import draw_curves
from .run_folder import run_files
from .schedules import Schedule

_FILES = ("model", "checkpoints", "log", "curves", "config")


def leave_results(
    run: Run,
    world_size: int,
    schedule: Schedule,
    losses: LossLog,
    pixels: Mapping[str, float],
    verification: Verification,
    best: BestModel,
    precision: str,
    skipped_records: int = 0,
) -> Dict[str, Any]:
    """Draw the curves, and write `summary.json` into the models root; returns its content.

    `accuracy_pixels`, `accuracy_untrained` (before the first update), `accuracy` and `accuracy_best`, which was reached
    at `best_update`, are those on the first verification set, null without one; `verification` has all sets.
    `train_seconds` are those of all `updates`, `images_per_second` of those since `continued_from`, which is 0 unless
    the run has continued. `loss_scale` and `skipped_updates` are null without a loss scale, which float16 has.
    `best_model` is the one of `keep_best`, if that is set. `files` has no `model` if none was written: for a run that
    continues in another folder and has nothing left to train.

    Args:
        run: Run.
        world_size: ranks.
        schedule: of the learning rates.
        losses: after the last update.
        pixels: accuracy of raw pixels by verification set.
        verification: its history begins before the first update and ends after the last one.
        best: the best model.
        precision: in which the backbone computed, also where the configuration says `auto`.
        skipped_records: bad records that all ranks together have skipped since `continued_from`.

    Raises:
        OSError: if they cannot be written.
    """
    files, settings = run_files(run.models_root), run.settings()
    kept = best.kept and best.kept.num_update
    draw_curves(files["curves"], losses.path, verification.history, lambda update: schedule(update)[0], kept)
    keys = "network", "loss", "sample_ratio", "seed", "num_classes", "embedding_size", "image_size"
    summary: Dict[str, Any] = {key: settings[key] for key in keys}
    summary.update(
        dataset=dataset_name(run.config),
        ranks=world_size,
        precision=precision,
        **_training(losses),
        skipped_records=skipped_records,
    )
    has_model = os.path.isfile(model_paths(files["model"])[1])
    summary.update(files={name: files[name] for name in _FILES if has_model or name != "model"}, **best.summary())
    summary.update(_accuracies(run.config.val_targets, pixels, verification))
    write_summary(run.models_root, summary)
    return summary


def write_summary(models_root: str, summary: Mapping[str, Any]) -> None:
    """Replace `summary.json` in the models root; raises OSError, and leaves an earlier one, if it cannot be written."""
    write_json(os.path.join(models_root, "summary.json"), summary)


def _training(losses: LossLog) -> Dict[str, Any]:
    assert losses.first is not None
    scale = losses.last.loss_scale or {}
    return dict(
        updates=losses.last.num_update,
        continued_from=losses.continued_from,
        first_loss=losses.first.loss,
        last_loss=losses.last.loss,
        loss_scale=scale.get("scale"),
        skipped_updates=scale.get("skipped"),
        train_seconds=round(losses.last.seconds, 2),
        images_per_second=round(losses.images_per_second, 1),
    )


def _accuracies(names: Sequence[str], pixels: Mapping[str, float], verification: Verification) -> Dict[str, Any]:
    measured: Dict[str, Mapping[str, Any]] = dict(
        accuracy_pixels=pixels,
        accuracy_untrained=verification.history[0][1],
        accuracy=verification.history[-1][1],
        accuracy_best={name: accuracy for name, (accuracy, _) in verification.best.items()},
        best_update={name: num_update for name, (_, num_update) in verification.best.items()},
    )
    of_sets = {name: {key: by_set.get(name) for key, by_set in measured.items()} for name in names}
    first = of_sets[names[0]] if names else dict.fromkeys(measured)
    return dict(first, verification=of_sets)
