"""The end of a run: what it reached, where its files are, what to try next."""

import json
import os
import shlex

from .config import arguments, dataset_name
from .files import atomic_path
from .printable import print_lines


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


def print_summary(summary, config):
    """Print a summary of a run, and what to try next, for people."""
    files = summary["files"]
    lines = ["", "Trained {network} on {dataset}, ranks: {ranks}".format(**summary)]
    rate = f", {summary['images_per_second']:.0f} images/s" * bool(summary["images_per_second"])
    lines.append(
        "  {updates} updates in {train_seconds:.0f} s{}; loss {first_loss:.2f} -> {last_loss:.2f}"
        .format(rate, **summary)
    )
    lines += [_accuracy(name, measured) for name, measured in summary["verification"].items()]
    lines.append(f"  model    {files['model']}-symbol.json, {files['model']}-0000.params")
    lines.append(f"  centers  in the checkpoints, {files['checkpoints']}{os.sep}")
    lines.append(f"  log      {files['log']}, or: tensorboard --logdir {shlex.quote(os.path.dirname(files['log']))}")
    lines.append(f"  curves   {files['curves']}")
    lines.append("Try next:")
    for command, meaning in _next(config, files):
        lines += [f"  {command}", f"      # {meaning}"]
    print_lines(lines)


def _accuracy(name, measured):
    before = measured["accuracy_untrained"]  # unknown of a set that was added when the run continued
    before = "" if before is None else f"before training {before:.1%}, "
    return (
        "  accuracy on {}: raw pixels {accuracy_pixels:.1%}, {}after {accuracy:.1%} "
        "(best {accuracy_best:.1%} at update {best_update})".format(name, before, **measured)
    )


def _next(config, files):
    """Commands that follow from this run, and what each does."""
    if config.sample_ratio == 1:
        yield _train(config, sample_ratio=0.1), "the same with a tenth of the class centers in each update"
    other = "arcface" if config.loss != "arcface" else "cosface"
    yield _train(config, loss=other), "the same with another margin"
    yield _train(config, pretrained=files["model"] + ",0"), "fine-tuning of this model"
    if config.source == "demo":
        own = ["--rec", "PATH/train.rec", "--network", "r18"]
        own += ["--set", "image_size=112", "--set", "val_targets="]
        yield "bash run.sh -- " + shlex.join(own), "your own faces"
    elif config.val_targets and config.source == "records":
        sets = [os.path.join(os.path.dirname(config.rec), name + ".bin") for name in config.val_targets]
        command = ["python", "-m", "partial_fc.eval", "verification", "--model", files["model"], "--bin", *sets]
        yield shlex.join(command), "AUC and TAR of this model, after: . setup-utils/env.sh; export PYTHONPATH=src"


def _train(config, **changed):
    return "bash run.sh -- " + arguments(config, **changed)
