"""The part of benchmarks.eval on precisions: networks trained in float32 on faces, each evaluated in all precisions.

The mean accuracy may differ by 0.2 points between the precisions, the mean true accept rate at each FAR by 0.5.
"""

import argparse
import itertools
import json
import tempfile
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .measure import print_table
from .tasks import TASKS, Packed
from .training import CPU_PRECISIONS, partial_fc, train

SEEDS = (0, 1, 2)
FARS = "1e-1", "1e-2"
# Largest differences in points: of the accuracy (None), and of the true accept rate at each false accept rate.
_MOST: Dict[Optional[str], float] = {None: 0.2, FARS[0]: 0.5, FARS[1]: 0.5}
TASK = TASKS["LFW, r=1"]


def measure(args: argparse.Namespace) -> Dict[str, Any]:
    """Print the table; returns its figures, and what differs too much, one line each."""
    with tempfile.TemporaryDirectory() as folder:
        records = Packed(folder, {TASK.data: args.data}).of(TASK)
        cases = []
        for seed in SEEDS:
            train(records, f"{folder}/{seed}", TASK.settings, TASK.sample_ratio, seed)
            cases += [_evaluate(f"{folder}/{seed}/model", records, seed, precision) for precision in CPU_PRECISIONS]
    print_table(*_table(cases))
    return dict(cases=cases, problems=problems(cases))


def _evaluate(model: str, records: str, seed: int, precision: str) -> Dict[str, Any]:
    result = f"{model}-{precision}.json"
    options = "--precision", precision, "--json", result
    partial_fc("eval", "verification", "--model", model, "--bin", f"{records}/heldout.bin", *options)
    with open(result) as file:
        found = json.load(file)
    return dict(seed=seed, precision=precision, accuracy=found["accuracy_flip"], tar=found["tar"])


def problems(cases: Sequence[Dict[str, Any]]) -> List[str]:
    """The figures whose means in the precisions are too far apart, one line each."""
    found = []
    for (far, most), precision in itertools.product(_MOST.items(), CPU_PRECISIONS):
        apart = difference(cases, far, precision)
        if abs(apart) > most:
            found.append(f"{_title(far)}: {precision} is {apart:+.2f} points from float32, at most {most} are allowed")
    return found


def difference(cases: Sequence[Dict[str, Any]], far: Optional[str], precision: str) -> float:
    """Mean of a figure in a precision minus that in the first one, in points."""
    low, first = (
        sum(_figure(cases, far, each, seed) for seed in SEEDS) / len(SEEDS) for each in (precision, CPU_PRECISIONS[0])
    )
    return 100 * (low - first)


def _table(cases: Sequence[Dict[str, Any]]) -> Tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Header and rows: a figure by precision and seed, and the mean difference from the first precision in points."""
    rows = []
    for far, precision in itertools.product(_MOST, CPU_PRECISIONS):
        values = (_figure(cases, far, precision, seed) for seed in SEEDS)
        shown = f"{difference(cases, far, precision):+.2f}" if precision != CPU_PRECISIONS[0] else ""
        rows.append([_title(far), precision, *(f"{value:.2%}" for value in values), shown])
    return ["figure", "precision", *(f"seed {seed}" for seed in SEEDS), "mean difference, points"], rows


def _title(far: Optional[str]) -> str:
    return f"TAR at FAR {far}" if far else "accuracy"


def _figure(cases, far, precision, seed):
    (case,) = [case for case in cases if (case["precision"], case["seed"]) == (precision, seed)]
    return case["tar"][far] if far else case["accuracy"]
