"""The end of a run: what it reached, where its files are, what to try next."""

import json
import os

from ..config import dataset_name
from ..files import atomic_path


def write_summary(config, ranks, losses, pixels, verification, files):
    """Write `summary.json` into the models root; returns what is in it.

    `accuracy_pixels`, `accuracy_untrained` (before the first update), `accuracy` and `accuracy_best`, which was reached
    at `best_update`, are those on the first verification set, null without one; `verification` has all sets.

    Args:
        config: of the run.
        ranks: number of ranks.
        losses: LossLog after the last update.
        pixels: accuracy of raw pixels by verification set.
        verification: Verification, whose history begins before the first update and ends after the last one.
        files: paths by name.
    """
    summary = {key: config[key] for key in ("network", "loss", "sample_ratio", "seed", "num_classes")}
    summary.update(
        dataset=dataset_name(config),
        ranks=ranks,
        updates=losses.last.num_update,
        first_loss=losses.first.loss,
        last_loss=losses.last.loss,
        train_seconds=round(losses.last.seconds, 2),
        images_per_second=round(losses.images_per_second, 1),
        files=files,
    )
    measured = dict(
        accuracy_pixels=pixels,
        accuracy_untrained=verification.history[0][1],
        accuracy=verification.history[-1][1],
        accuracy_best={name: accuracy for name, (accuracy, _) in verification.best.items()},
        best_update={name: num_update for name, (_, num_update) in verification.best.items()},
    )
    first = config.val_targets[0] if config.val_targets else None
    summary.update({key: by_set.get(first) for key, by_set in measured.items()})
    summary["verification"] = {
        name: {key: by_set.get(name) for key, by_set in measured.items()} for name in config.val_targets
    }
    with atomic_path(os.path.join(config.models_root, "summary.json")) as path, open(path, "w") as file:
        json.dump(summary, file, indent=2)
        file.write("\n")
    return summary
