"""What benchmarks share that train on images of a data set: folders to records and pairs, and these to a summary."""

import argparse
import glob
import json
import os
import random
import subprocess
import sys
from typing import Any, Callable, Dict, List, Mapping, Sequence

from .measure import ROOT

RANKS = 2
RUN = ("bash", f"{ROOT}/run.sh", "-np", str(RANKS), "--")
CPU_PRECISIONS = "float32", "bfloat16"
_FOLDS, _PAIRS_PER_KIND = 10, 300
DrawTwo = Callable[[random.Random, Sequence[str]], Sequence[str]]


def parser(name: str, description: str, files: Sequence[str], trains: bool = False) -> argparse.ArgumentParser:
    """Argument parser of a benchmark: `--data DIR`, which must have the files, and `--json FILE`.

    If it trains, also `--loss`, `--precision` and `--set KEY=VALUE`.
    """

    def folder(path):
        for file in files:
            if not os.path.isfile(os.path.join(path, file)):
                raise argparse.ArgumentTypeError(f"there is no {os.path.join(path, file)}")
        return path

    result = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    result.add_argument("--data", required=True, type=folder, metavar="DIR", help=f"folder with {' and '.join(files)}")
    result.add_argument("--json", metavar="FILE", help="also write the result to this file")
    if trains:
        result.add_argument("--loss", default="cosface", metavar="NAME", help="preset of the margin (cosface)")
        result.add_argument("--precision", choices=CPU_PRECISIONS, default="float32", help="of the training (float32)")
        result.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another key, repeatable")
    return result


def folder_with(data: str, files: Sequence[str], arguments: argparse.ArgumentParser) -> str:
    """The folder, `data` or one in it, that has the files; without any the program ends with an error."""
    for folder in (data, *sorted(glob.glob(os.path.join(glob.escape(data), "*", "")))):
        if all(os.path.isfile(os.path.join(folder, file)) for file in files):
            return folder
    arguments.error(f"argument --data: neither {data} nor a folder in it has {' and '.join(files)}")


def save_image(folder: str, identity: str, name: str, content: bytes) -> None:
    """Write an encoded image to FOLDER/IDENTITY/NAME."""
    os.makedirs(os.path.join(folder, identity), exist_ok=True)
    with open(os.path.join(folder, identity, name), "wb") as file:
        file.write(content)


def pack(folder: str, size: int, draw_two: DrawTwo) -> str:
    """Make `train.rec` of the images in FOLDER/train and pairs, `heldout.bin`, of those in FOLDER/heldout.

    Args:
        folder: has both; images are IDENTITY/IDENTITY_0001.* in each, numbered without gaps.
        size: height and width of the packed images in pixels.
        draw_two: see `draw_pairs`.

    Returns:
        Folder of the two files.

    Raises:
        subprocess.CalledProcessError: the command failed; its output says why.
    """
    pairs, records = f"{folder}/heldout.txt", f"{folder}/records"
    names = sorted(os.listdir(f"{folder}/heldout"))
    images = {name: range(1, 1 + len(os.listdir(f"{folder}/heldout/{name}"))) for name in names}
    with open(pairs, "w") as file:
        file.writelines(f"{line}\n" for line in draw_pairs(images, draw_two))
    partial_fc("data", "pack", f"{folder}/train", records, f"--size={size}")
    partial_fc("data", "pack", f"{folder}/heldout", f"{folder}/packed", f"--size={size}", f"--pairs={pairs}")
    os.rename(f"{folder}/packed/heldout.bin", f"{records}/heldout.bin")
    return records


def draw_pairs(images: Mapping[str, Sequence[int]], draw_two: DrawTwo) -> List[str]:
    """Draw 6,000 pairs to verify, the same ones every time.

    Args:
        images: sequence of image numbers by identity; for a pair of one identity, each identity is equally likely.
        draw_two: function from a `random.Random` and the list of identities to two different ones.

    Returns:
        Lines in the form of LFW's pairs.txt: ten folds of 300 pairs of one identity and 300 of two.
    """
    draw, names = random.Random(0), list(images)
    lines = [f"{_FOLDS}\t{_PAIRS_PER_KIND}"]
    for _ in range(_FOLDS):
        for name in draw.choices(names, k=_PAIRS_PER_KIND):
            one, other = draw.sample(images[name], 2)
            lines.append(f"{name}\t{one}\t{other}")
        for _ in range(_PAIRS_PER_KIND):
            first, second = draw_two(draw, names)
            lines.append(f"{first}\t{draw.choice(images[first])}\t{second}\t{draw.choice(images[second])}")
    return lines


def train(
    records: str,
    models_root: str,
    settings: Sequence[str],
    sample_ratio: float,
    seed: int,
    network: str = "demo",
    precision: str = "float32",
    loss: str = "cosface",
    command: Sequence[str] = RUN,
) -> Dict[str, Any]:
    """Train on two ranks and verify on `heldout.bin`.

    Args:
        records: folder of the two files that `pack` made.
        models_root: folder for what the training writes.
        settings: KEY=VALUE of the preset's keys; of several for one key the last counts.
        sample_ratio: share of the class centers in an update.
        seed: of the training.
        network: the backbone.
        precision: of convolutions and products.
        loss: preset of the margin.
        command: of the trainer, to which its arguments are added: that of `run.sh`, or of another program.

    Returns:
        What is in `summary.json`.

    Raises:
        subprocess.CalledProcessError: the training failed; its output says why.
    """
    arguments = ["--rec", f"{records}/train.rec", "--sample-ratio", str(sample_ratio), "--seed", str(seed)]
    arguments += ["--network", network, "--precision", precision, "--loss", loss]
    arguments += [f"--set={each}" for each in (*settings, "val_targets=heldout")]
    _run(*command, *arguments, "--models-root", models_root)
    with open(f"{models_root}/summary.json") as file:
        return json.load(file)


def figures(summary: Dict[str, Any], *further: str) -> Dict[str, Any]:
    """The figures of a summary that benchmarks report, and further ones by name."""
    keys = ("accuracy", "accuracy_untrained", "accuracy_pixels", "train_seconds", "images_per_second", "ranks")
    return {key: summary[key] for key in (*keys, "sample_ratio", *further)}


def partial_fc(*arguments: str) -> None:
    """Run a command of `partial-fc`; raises subprocess.CalledProcessError if it failed, its output says why."""
    _run(sys.executable, "-m", "partial_fc", *arguments)


def _run(*command):
    path = os.pathsep.join([os.path.join(ROOT, "src"), ROOT] + os.environ.get("PYTHONPATH", "").split(os.pathsep))
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path})
