"""Does low precision cost accuracy? Faces and handwritten characters, each trained in float32 and in bfloat16.

    python -m benchmarks.precision --data DIR [--only TASK ...] [--seeds N] [--json FILE]

DIR has the files of benchmarks.lfw and benchmarks.omniglot, in itself or in its folders; their trainings are repeated
here with the seeds 0, 1, 2 in both precisions. Of a training only the seed and the precision change, so that a
difference is paired. About 35 minutes on two cores.
"""

import argparse
import glob
import itertools
import os
import statistics
import sys
import tempfile
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import mxnet as mx

from partial_fc.device import choose_precision

from . import lfw, omniglot
from .measure import print_table, write_json
from .training import CPU_PRECISIONS, DrawTwo, figures, pack, train

MAX_DIFFERENCE = 0.5  # points of accuracy
_FLOAT32, _LOW = CPU_PRECISIONS
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


def _omniglot(sample_ratio: float) -> Task:
    draw_two = omniglot.two_of_one_alphabet
    return Task(omniglot.FILES, omniglot.extract, omniglot.SIZE, draw_two, omniglot.TRAINING, sample_ratio)


_SIZE, _SETTINGS = lfw.TRAINING["demo"]
TASKS = {
    "LFW, r=1": Task(lfw.FILES, lfw.extract, _SIZE, lambda draw, names: draw.sample(names, 2), _SETTINGS.split(), 1.0),
    "Omniglot, r=1": _omniglot(1.0),
    "Omniglot, r=0.1": _omniglot(0.1),
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status, 1 if the means differ by more than half a point."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.precision", description="Train in two precisions.")
    arguments.add_argument("--data", required=True, metavar="DIR", help="folder with the data sets")
    arguments.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK", help="(all)")
    arguments.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings in each precision (3)")
    arguments.add_argument("--json", metavar="FILE", help="write the results to this file, too, after each training")
    args = arguments.parse_args(argv)
    folders = {name: find_folder(args.data, TASKS[name].files, arguments) for name in args.only}
    cases: List[Case] = []
    for name, folder in folders.items():
        for case in _train(name, folder, range(args.seeds)):
            cases.append(case)
            if args.json:
                write_json(args.json, cases)
    print_table(*table(cases))
    print(f"\nbfloat16 on this CPU: {choose_precision(_LOW, mx.cpu()).reason}.")
    too_far = [name for name, difference in differences(cases).items() if abs(difference) > MAX_DIFFERENCE]
    if too_far:
        print(f"error: {', '.join(too_far)}: more than {MAX_DIFFERENCE} points apart", file=sys.stderr)
    return int(bool(too_far))


def find_folder(data: str, files: Sequence[str], arguments: argparse.ArgumentParser) -> str:
    """The folder, DIR or one in it, that has the files."""
    for folder in (data, *sorted(glob.glob(os.path.join(glob.escape(data), "*", "")))):
        if all(os.path.isfile(os.path.join(folder, file)) for file in files):
            return folder
    arguments.error(f"argument --data: neither {data} nor a folder in it has {' and '.join(files)}")


def _train(name: str, data: str, seeds: Sequence[int]) -> Iterator[Case]:
    """A case for each training of a task."""
    task = TASKS[name]
    with tempfile.TemporaryDirectory() as folder:
        task.extract(data, folder)
        records = pack(folder, task.size, task.draw_two)
        for seed, precision in itertools.product(seeds, CPU_PRECISIONS):
            print(f"{name}: training with seed {seed} in {precision}", file=sys.stderr, flush=True)
            run = task.sample_ratio, seed, "demo", precision
            summary = train(records, f"{folder}/{seed}-{precision}", task.settings, *run)
            yield dict(figures(summary, "seed"), task=name, precision=precision)


def table(cases: Sequence[Case]) -> Tuple[List[str], List[List[str]]]:
    """Header and rows of the results: accuracy of each seed, mean, standard deviation, difference of the means.

    Args:
        cases: `task`, `precision`, `seed`, `accuracy` and `images_per_second` of each training.
    """
    seeds = sorted({case["seed"] for case in cases})
    header = ["task", "precision", *(f"seed {seed}" for seed in seeds), "mean", "standard deviation"]
    rows = []
    for name in dict.fromkeys(case["task"] for case in cases):
        for precision in CPU_PRECISIONS:
            chosen = [case for case in cases if (case["task"], case["precision"]) == (name, precision)]
            accuracies = [case["accuracy"] for case in chosen]
            deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else float("nan")
            shown = [f"{value:.2%}" for value in (*accuracies, statistics.mean(accuracies), deviation)]
            apart = f"{differences(cases)[name]:+.2f} points" if precision == _LOW else ""
            speed = statistics.mean(case["images_per_second"] for case in chosen)
            rows.append([name, precision, *shown, apart, f"{speed:.0f}"])
    return [*header, "bfloat16 - float32", "images/s"], rows


def differences(cases: Sequence[Case]) -> Dict[str, float]:
    """Points by which the mean accuracy in bfloat16 is above that in float32, by task."""
    result = {}
    for name in dict.fromkeys(case["task"] for case in cases):
        low, high = (
            statistics.mean(
                case["accuracy"] for case in cases if (case["task"], case["precision"]) == (name, precision)
            )
            for precision in (_LOW, _FLOAT32)
        )
        result[name] = 100 * (low - high)
    return result


if __name__ == "__main__":
    sys.exit(main())
