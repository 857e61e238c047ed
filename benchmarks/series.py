"""Series of trainings: results are kept in a JSON file, and a series continues where it was ended."""

import argparse
import json
import os
import resource
import statistics
import sys
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from .measure import in_own_process, write_json
from .training import train

# What identifies a training, and what came out of it.
Case = Dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser, plot: bool = True) -> None:
    """Arguments of a series: `--json`, `--runs` and, if asked for, `--plot`."""
    parser.add_argument("--json", metavar="FILE", help="results, kept after each training; a rerun does what it lacks")
    parser.add_argument("--runs", type=int, metavar="N", help="trainings now, 0 to print what FILE has (all)")
    if plot:
        parser.add_argument("--plot", metavar="FILE", help="also draw the results into this PNG file")


def run_series(
    wanted: Sequence[Case],
    measure: Callable[[Case], Mapping[str, Any]],
    path: Optional[str] = None,
    runs: Optional[int] = None,
) -> List[Case]:
    """Measure the cases that a JSON file lacks, in their order, and write it after each of them.

    Args:
        wanted: cases, without results.
        measure: function of one of them, that returns its results.
        path: of the file; None for none.
        runs: how many to measure at most; None for all.

    Returns:
        The wanted cases that have results, with these.
    """
    cases = _earlier(path)
    left = [case for case in wanted if not _found(case, cases)]
    for number, case in enumerate(left[:runs], start=1):
        print(f"training {number} of {len(left)}: {case}", file=sys.stderr, flush=True)
        cases.append({**case, **measure(case)})
        if path:
            write_json(path, cases)
    return [found for case in wanted for found in _found(case, cases)]


def _earlier(path: Optional[str]) -> List[Case]:
    if not path or not os.path.exists(path):
        return []
    with open(path) as file:
        return json.load(file)["cases"]


def _found(case: Case, cases: Sequence[Case]) -> List[Case]:
    return [each for each in cases if case.items() <= each.items()]


def measured_training(*arguments: Any, **more: Any) -> Dict[str, Any]:
    """Accuracy, seconds, images per second, and peak memory in MiB of a rank, of one training; see `training.train`."""
    summary, memory = in_own_process(_train, arguments, more)
    keys = "accuracy", "train_seconds", "images_per_second", "num_classes", "updates", "last_loss"
    return {**{key: summary[key] for key in keys}, "memory": round(memory)}


def _train(arguments: Sequence[Any], more: Mapping[str, Any]) -> Any:
    summary = train(*arguments, **more)
    # Of the largest process below this one, which has started nothing else.
    return summary, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def mean_of(cases: Sequence[Case], key: str = "accuracy") -> Optional[float]:
    """Mean of a result; None without cases."""
    return statistics.mean(case[key] for case in cases) if cases else None


def shown(cases: Sequence[Case]) -> str:
    """Mean accuracy, with standard deviation and number of seeds where there are several: `88.5% ± 0.2 (3)`."""
    mean = mean_of(cases)
    if mean is None:
        return ""
    values = [100 * case["accuracy"] for case in cases]
    return f"{mean:.1%} ± {statistics.stdev(values):.1f} ({len(values)})" if len(values) > 1 else f"{mean:.1%} (1)"
