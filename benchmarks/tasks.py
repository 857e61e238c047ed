"""Trainings that are compared: the data sets, what changes from one training to the other, and a table of accuracies.

For `benchmarks.precision` and `benchmarks.learning`.
"""

import argparse
import itertools
import os
import random
import statistics
import tempfile
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from . import lfw, omniglot
from .series import Case, run_series
from .training import DrawTwo, figures, folder_with, pack, train


class Task(NamedTuple):
    """A data set and how it is trained on.

    Attributes:
        data: name of the data set.
        files: that its folder has.
        extract: function of that folder and of the one to extract to.
        size: height and width of the images.
        draw_two: see `training.draw_pairs`.
        settings: KEY=VALUE of the preset's keys.
        sample_ratio: share of the class centers in an update.
    """

    data: str
    files: Sequence[str]
    extract: Callable[[str, str], None]
    size: int
    draw_two: DrawTwo
    settings: Sequence[str]
    sample_ratio: float


class Variant(NamedTuple):
    """What is changed in a task.

    Attributes:
        name: in the table.
        loss: preset of the margin.
        precision: of convolutions and products.
        settings: KEY=VALUE, which override the task's.
    """

    name: str
    loss: str = "cosface"
    precision: str = "float32"
    settings: Sequence[str] = ()


def _omniglot(sample_ratio: float) -> Task:
    draw_two = omniglot.two_of_one_alphabet
    return Task("omniglot", omniglot.FILES, omniglot.extract, omniglot.SIZE, draw_two, omniglot.TRAINING, sample_ratio)


def _two_people(draw: random.Random, people: Sequence[str]) -> List[str]:
    return draw.sample(people, 2)


_SIZE, _SETTINGS = lfw.TRAINING["demo"]
TASKS = {
    "LFW, r=1": Task("lfw", lfw.FILES, lfw.extract, _SIZE, _two_people, _SETTINGS.split(), 1.0),
    "Omniglot, r=1": _omniglot(1.0),
    "Omniglot, r=0.1": _omniglot(0.1),
}


def parser(name: str, description: str, choices: Sequence[str], kind: str) -> argparse.ArgumentParser:
    """Argument parser of a comparison: `--data`, `--seeds`, `--json`, and `--only`, some of the choices of a kind."""
    result = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    result.add_argument("--data", required=True, metavar="DIR", help="folder with the data sets")
    result.add_argument("--only", nargs="+", choices=choices, default=list(choices), metavar=kind, help="(all)")
    result.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each kind (3)")
    result.add_argument(
        "--json", metavar="FILE", help="add each result to this file; a training that it has is not repeated"
    )
    return result


def compare(
    args: argparse.Namespace, tasks: Sequence[str], variants: Sequence[Variant], arguments: argparse.ArgumentParser
) -> List[Case]:
    """Train every variant of every task with every seed.

    Args:
        args: of `parser`.
        tasks: keys of TASKS.
        variants: what differs between the trainings of a task.
        arguments: the parser, for an error about the data.

    Returns:
        A case for each training, those of a task together: the figures of its summary, and `task`, `variant`, `seed`,
        `loss`, `precision`, `settings`.
    """
    sources = {task: folder_with(args.data, TASKS[task].files, arguments) for task in tasks}
    runs = list(itertools.product(range(args.seeds), variants))
    wanted = [_about(task, variant, seed) for task in tasks for seed, variant in runs]
    with tempfile.TemporaryDirectory() as folder:
        packed = Packed(folder, {TASKS[task].data: source for task, source in sources.items()})
        return run_series(wanted, lambda about: _train(about, packed), args.json)


class Packed:
    """Records of data sets, each made once.

    Args:
        folder: to make them in.
        sources: folder of the files of each data set, by `Task.data`.
    """

    def __init__(self, folder: str, sources: Mapping[str, str]) -> None:
        self.folder, self._sources = folder, sources

    def of(self, task: Task) -> str:
        """Folder with the `train.rec` and `heldout.bin` of a task."""
        folder = os.path.join(self.folder, task.data)
        if not os.path.isdir(folder):
            task.extract(self._sources[task.data], folder)
            pack(folder, task.size, task.draw_two)
        return os.path.join(folder, "records")


def _about(task: str, variant: Variant, seed: int) -> Case:
    """What makes a training the one it is."""
    settings = " ".join((*TASKS[task].settings, *variant.settings))
    kind = dict(loss=variant.loss, precision=variant.precision, settings=settings)
    return dict(task=task, variant=variant.name, seed=seed, **kind)


def _train(about: Case, packed: Packed) -> Dict[str, Any]:
    """The figures of a training."""
    task = TASKS[about["task"]]
    with tempfile.TemporaryDirectory(dir=packed.folder) as models_root:
        kind = dict(precision=about["precision"], loss=about["loss"])
        settings = about["settings"].split()
        return figures(train(packed.of(task), f"{models_root}/run", settings, task.sample_ratio, about["seed"], **kind))


def table(cases: Sequence[Case], kind: str) -> Tuple[List[str], List[List[str]]]:
    """Header and rows of the results: accuracies, their mean and standard deviation, the difference from the first.

    Args:
        cases: as `compare` returns them.
        kind: header of the variants.
    """
    seeds = sorted({case["seed"] for case in cases})
    header = ["task", kind, *(f"seed {seed}" for seed in seeds), "mean", "standard deviation", "points above the first"]
    rows = []
    for task, variants in _grouped(cases).items():
        apart = differences(cases)[task]
        for variant, chosen in variants.items():
            accuracies = [case["accuracy"] for case in chosen]
            deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else float("nan")
            shown = [f"{value:.2%}" for value in (*accuracies, statistics.mean(accuracies), deviation)]
            shown.append(f"{apart[variant]:+.2f}" if variant in apart else "")
            shown += [
                f"{statistics.mean(case[key] for case in chosen):.0f}" for key in ("train_seconds", "images_per_second")
            ]
            rows.append([task, variant, *shown])
    return [*header, "training s", "images/s"], rows


def differences(cases: Sequence[Case]) -> Dict[str, Dict[str, float]]:
    """Points by which the mean accuracy of a variant is above that of the first variant, by task and variant."""
    result = {}
    for task, variants in _grouped(cases).items():
        means = {name: statistics.mean(case["accuracy"] for case in chosen) for name, chosen in variants.items()}
        first, *others = means
        result[task] = {name: 100 * (means[name] - means[first]) for name in others}
    return result


def _grouped(cases: Sequence[Case]) -> Dict[str, Dict[str, List[Case]]]:
    """The cases by task and variant, in their order."""
    result: Dict[str, Dict[str, List[Case]]] = {}
    for case in cases:
        result.setdefault(case["task"], {}).setdefault(case["variant"], []).append(case)
    return result
