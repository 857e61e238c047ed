"""Trainings that are compared: the data sets, what changes from one training to the other, and a table of accuracies.

For `benchmarks.precision` and `benchmarks.learning`.
"""

import argparse
import glob
import itertools
import json
import os
import statistics
import sys
import tempfile
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from . import lfw, omniglot
from .measure import write_json
from .training import DrawTwo, figures, pack, train

Case = Dict[str, Any]


class Task(NamedTuple):
    """A data set and how it is trained on.

    Attributes:
        files: that its folder has.
        extract: function of that folder and of the one to extract to.
        size: height and width of the images.
        draw_two: see `training.draw_pairs`.
        settings: KEY=VALUE of the preset's keys.
        sample_ratio: share of the class centers in an update.
    """

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
    return Task(omniglot.FILES, omniglot.extract, omniglot.SIZE, draw_two, omniglot.TRAINING, sample_ratio)


_SIZE, _SETTINGS = lfw.TRAINING["demo"]
TASKS = {
    "LFW, r=1": Task(lfw.FILES, lfw.extract, _SIZE, lambda draw, names: draw.sample(names, 2), _SETTINGS.split(), 1.0),
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
    folders = {task: _folder(args.data, TASKS[task].files, arguments) for task in tasks}
    cases = _cases_in(args.json)
    found: List[Case] = []
    for task, folder in folders.items():
        runs = [_about(task, variant, seed) for seed, variant in itertools.product(range(args.seeds), variants)]
        for case in _train(folder, [about for about in runs if not _case_of(about, cases)]):
            cases.append(case)
            if args.json:
                write_json(args.json, cases)
        found += [case for case in (_case_of(about, cases) for about in runs) if case]
    return found


def _folder(data: str, files: Sequence[str], arguments: argparse.ArgumentParser) -> str:
    """The folder, DIR or one in it, that has the files."""
    for folder in (data, *sorted(glob.glob(os.path.join(glob.escape(data), "*", "")))):
        if all(os.path.isfile(os.path.join(folder, file)) for file in files):
            return folder
    arguments.error(f"argument --data: neither {data} nor a folder in it has {' and '.join(files)}")


def _about(task: str, variant: Variant, seed: int) -> Case:
    """What makes a training the one it is."""
    settings = " ".join((*TASKS[task].settings, *variant.settings))
    kind = dict(loss=variant.loss, precision=variant.precision, settings=settings)
    return dict(task=task, variant=variant.name, seed=seed, **kind)


def _cases_in(path: Optional[str]) -> List[Case]:
    if not path or not os.path.exists(path):
        return []
    with open(path) as file:
        return json.load(file)["cases"]


def _case_of(about: Case, cases: Sequence[Case]) -> Optional[Case]:
    return next((case for case in cases if about.items() <= case.items()), None)


def _train(data: str, runs: Sequence[Case]) -> Iterator[Case]:
    """A case for each run of one task; the data are extracted if there is any."""
    if not runs:
        return
    task = TASKS[runs[0]["task"]]
    with tempfile.TemporaryDirectory() as folder:
        task.extract(data, folder)
        records = pack(folder, task.size, task.draw_two)
        for number, about in enumerate(runs):
            print("{task}: training with seed {seed}, {variant}".format(**about), file=sys.stderr, flush=True)
            settings, kind = about["settings"].split(), dict(precision=about["precision"], loss=about["loss"])
            summary = train(records, f"{folder}/{number}", settings, task.sample_ratio, about["seed"], **kind)
            yield {**figures(summary), **about}


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
