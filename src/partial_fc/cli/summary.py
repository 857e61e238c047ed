"""The lines that a run prints at its end: results, paths of its files, and commands to try next."""

import os
import shlex
from typing import Any, Iterator, Mapping, Tuple

from ..config_keys import Config
from ..output.printable import print_lines
from .train_arguments import arguments

# The schedule of the preset in epochs, so that it fits any number of images.
_OWN_FACES = "--dataset webface --rec PATH/train.rec --network r18 --set num_classes=0 --set val_targets= "
_OWN_FACES += "--set max_epochs=32 --set lr_steps=20e,28e"


def print_summary(summary: Mapping[str, Any], config: Config) -> None:
    """Print the summary of a run, and commands to try next."""
    files = summary["files"]
    lines = ["", "Trained {network} on {dataset}, ranks: {ranks}".format(**summary)]
    rate = f", {summary['images_per_second']:.0f} images/s" * bool(summary["images_per_second"])
    if rate and summary["continued_from"]:
        rate += f" since update {summary['continued_from']}"
    lines.append(
        "  {updates} updates in {train_seconds:.0f} s{}; loss {first_loss:.2f} -> {last_loss:.2f}".format(
            rate, **summary
        )
    )
    lines += [_accuracy(name, measured) for name, measured in summary["verification"].items()]
    model = files.get("model")
    written = f"{model}-symbol.json, {model}-0000.params" if model else "not written, since nothing was left to train"
    lines.append(f"  model    {written}")
    if "best_model" in summary:
        lines.append(_best(summary["best_model"]))
    if model:
        lines.append(f"  centers  in the checkpoints, {files['checkpoints']}{os.sep}")
    lines.append(f"  log      {files['log']}, or: tensorboard --logdir {shlex.quote(os.path.dirname(files['log']))}")
    lines.append(f"  curves   {files['curves']}")
    lines.append(f"  all keys {files['config']}")
    lines.append("Try next:")
    for command, meaning in _next(config, summary["ranks"], files):
        lines += [f"  {command}", f"      # {meaning}"]
    print_lines(lines)


def _best(kept: Mapping[str, Any]) -> str:
    end = "; patience ended training" if kept["ended_training"] else ""
    line = "  best     {model}-symbol.json, {model}-0000.params: update {update}, {accuracy:.1%} by {of}"
    return line.format(**kept) + end


def _accuracy(name: str, measured: Mapping[str, Any]) -> str:
    before = measured["accuracy_untrained"]  # unknown of a set that was added when the run continued
    before = "" if before is None else f"before training {before:.1%}, "
    return (
        "  accuracy on {}: raw pixels {accuracy_pixels:.1%}, {}after {accuracy:.1%} "
        "(best {accuracy_best:.1%} at update {best_update})".format(name, before, **measured)
    )


def _next(config: Config, ranks: int, files: Mapping[str, str]) -> Iterator[Tuple[str, str]]:
    """Commands to try after this run, with their meanings."""
    if config.sample_ratio == 1:
        yield _train(config, ranks, sample_ratio=0.1), "the same with a tenth of the class centers in each update"
    other = "arcface" if config.loss != "arcface" else "cosface"
    yield _train(config, ranks, loss=other), "the same with another margin"
    model = files.get("model")
    if model:
        yield _train(config, ranks, pretrained=model + ",0"), "fine-tuning of this model"
    if config.source == "demo":
        yield _run_sh(ranks) + _OWN_FACES, "your own faces, with the values of the paper"
    elif model and config.val_targets and config.source == "records":
        sets = [os.path.join(os.path.dirname(config.rec), name + ".bin") for name in config.val_targets]
        command = ["partial-fc", "eval", "verification", "--model", model, "--bin", *sets]
        yield shlex.join(command), "AUC and TAR of this model, after: . setup-utils/env.sh"


def _train(config: Config, ranks: int, **changed: Any) -> str:
    return _run_sh(ranks) + arguments(config, **changed)


def _run_sh(ranks: int) -> str:
    return f"bash run.sh -np {ranks} -- " if ranks > 1 else "bash run.sh -- "
