"""The part of benchmarks.eval on precisions: networks trained in float32 on faces, each evaluated in all precisions."""

import argparse
import itertools
import json
import tempfile
from typing import Any, Dict, Sequence, Tuple

from . import lfw
from .measure import print_table
from .training import CPU_PRECISIONS, pack, partial_fc, train

SEEDS = (0, 1, 2)
FARS = "1e-1", "1e-2"
_SIZE, _SETTINGS = lfw.TRAINING["demo"]


def measure(args: argparse.Namespace) -> Dict[str, Any]:
    """Print the table; returns its figures."""
    with tempfile.TemporaryDirectory() as folder:
        lfw.extract(args.data, folder)
        records = pack(folder, _SIZE, lambda draw, people: draw.sample(people, 2))
        cases = []
        for seed in SEEDS:
            train(records, f"{folder}/{seed}", _SETTINGS.split(), 1.0, seed)
            cases += [_evaluate(f"{folder}/{seed}/model", records, seed, precision) for precision in CPU_PRECISIONS]
    print_table(*_table(cases))
    return dict(cases=cases)


def _evaluate(model: str, records: str, seed: int, precision: str) -> Dict[str, Any]:
    result = f"{model}-{precision}.json"
    options = "--precision", precision, "--json", result
    partial_fc("eval", "verification", "--model", model, "--bin", f"{records}/heldout.bin", *options)
    with open(result) as file:
        found = json.load(file)
    return dict(seed=seed, precision=precision, accuracy=found["accuracy_flip"], tar=found["tar"])


def _table(cases: Sequence[Dict[str, Any]]) -> Tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Header and rows: a figure by precision and seed, and the mean difference from the first precision in points."""
    rows = []
    for far, precision in itertools.product((None, *FARS), CPU_PRECISIONS):
        values, first = ([_figure(cases, far, each, seed) for seed in SEEDS] for each in (precision, CPU_PRECISIONS[0]))
        apart = 100 * (sum(values) - sum(first)) / len(SEEDS)
        shown = f"{apart:+.2f}" if precision != CPU_PRECISIONS[0] else ""
        title = f"TAR at FAR {far}" if far else "accuracy"
        rows.append([title, precision, *(f"{value:.2%}" for value in values), shown])
    return ["figure", "precision", *(f"seed {seed}" for seed in SEEDS), "mean difference, points"], rows


def _figure(cases, far, precision, seed):
    (case,) = [case for case in cases if (case["precision"], case["seed"]) == (precision, seed)]
    return case["tar"][far] if far else case["accuracy"]
