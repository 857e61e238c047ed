"""The end of a run: what it reached, where its files are, what to try next."""

import json
import os

from .files import atomic_path
from .printable import print_lines

_NEXT = (
    ("a tenth of the class centers in each update", "--sample-ratio 0.1"),
    ("another margin", "--loss arcface"),
    ("your own faces", "--rec PATH/train.rec --set image_size=112 --set val_targets= --network r18"),
)


def write_summary(config, ranks, losses, pixels, verification, files):
    """Write `summary.json` into the models root; returns what is in it.

    `accuracy_pixels`, `accuracy_untrained`, `accuracy` and `accuracy_best`, which was reached at `best_update`, are
    those on the first verification set, null without one; `verification` has all sets.

    Args:
        ranks: number of ranks.
        losses: LossLog after the last update.
        pixels: accuracy of raw pixels by verification set.
        verification: Verification, whose history begins with the untrained network and ends with the trained one.
        files: paths by name.
    """
    summary = {key: config[key] for key in ("dataset", "network", "loss", "sample_ratio", "seed", "num_classes")}
    summary.update(
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


def print_summary(summary):
    """Print a summary for people."""
    files = summary["files"]
    lines = ["", f"Trained {summary['network']} on {summary['dataset']} with {summary['ranks']} ranks:"]
    lines.append(
        "  {updates} updates in {train_seconds:.0f} s, {images_per_second:.0f} images/s; "
        "loss {first_loss:.2f} -> {last_loss:.2f}".format(**summary)
    )
    for name, measured in summary["verification"].items():
        untrained = measured["accuracy_untrained"]  # unknown of a set that was added when the run went on
        untrained = "" if untrained is None else f"untrained {untrained:.1%}, "
        lines.append(
            "  accuracy on {}: raw pixels {accuracy_pixels:.1%}, {}"
            "trained {accuracy:.1%} (best {accuracy_best:.1%} at update {best_update})".format(
                name, untrained, **measured
            )
        )
    lines.append(f"  model    {files['model']}-symbol.json, {files['model']}-0000.params")
    lines.append(f"  centers  {files['checkpoints']}{os.sep}, to go on: --resume auto")
    lines.append(f"  log      {files['log']}, or: tensorboard --logdir {os.path.dirname(files['log'])}")
    lines.append(f"  curves   {files['curves']}")
    lines.append("Try next:")
    lines += [f"  bash run.sh -- {arguments:24} # {meaning}" for meaning, arguments in _NEXT]
    print_lines(lines)
