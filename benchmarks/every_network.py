"""Does every network train? 20 updates on two ranks in both precisions, in two starts, and an evaluation.

    python -m benchmarks.every_network [--networks NAME ...] [--json FILE] [--runs N]

Drawn faces of 32 x 32 pixels (112 x 112 for mobilefacenet), 40 people, a small learning rate. A run has 12 updates, is
continued to 20; `partial-fc eval verification` verifies 60 pairs of other people with the model that it has left. The
command fails if anything is wrong. About half an hour on two cores.
"""

import argparse
import csv
import itertools
import json
import os
import sys
import tempfile
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from partial_fc.symbol import NETWORKS

from . import identities
from .measure import print_table
from .series import Case, add_arguments, run_series
from .training import CPU_PRECISIONS, partial_fc, train

_UPDATES, _CUT = 20, 12
_ENDS = 5  # updates at either end whose mean losses are compared
_SETTINGS = (
    "embedding_size=64 loss_s=16 loss_m3=0.1 batch_size=8 backbone_lr=0.02 memory_bank_lr=0.1 lr_steps= frequent=4 "
    f"verbose={_UPDATES}"
).split()


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Train and print; returns the exit status, 1 if there is a problem."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.every_network", description="Train every network.")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME", help="(all)")
    add_arguments(parser, plot=False)
    args = parser.parse_args(argv)
    wanted = [dict(network=each, precision=kind) for each, kind in itertools.product(args.networks, CPU_PRECISIONS)]
    with tempfile.TemporaryDirectory() as folder:
        cases = run_series(wanted, lambda case: measure(case, folder), args.json, args.runs)
    print_table(*table(cases))
    return 1 if any(case["problem"] for case in cases) else 0


def measure(case: Case, folder: str) -> Dict[str, Any]:
    """Train a network in two starts: mean losses at both ends, the accuracy of its model, and what is wrong."""
    size = 112 if case["network"] == "mobilefacenet" else 32
    records = os.path.join(folder, f"faces-{size}")
    if not os.path.isdir(records):
        identities.draw(records, identities=40, held_out=20, pairs=60, size=size)
    with tempfile.TemporaryDirectory(dir=folder) as models_root:
        for updates, start in ((_CUT, "resume=no"), (_UPDATES, "resume=auto")):
            settings = [*_SETTINGS, f"image_size={size}", f"max_update={updates}", start]
            summary = train(records, models_root, settings, 1.0, 0, case["network"], case["precision"])
        with open(f"{models_root}/losses.csv", newline="") as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file)]
        report = f"{models_root}/report.json"
        model = ("--model", f"{models_root}/model", "--precision", case["precision"])
        partial_fc("eval", "verification", *model, "--bin", f"{records}/heldout.bin", "--json", report)
        with open(report) as file:
            accuracy = json.load(file)["accuracy"]
    first, last = (float(np.mean(each)) for each in (losses[:_ENDS], losses[-_ENDS:]))
    problems = {
        "its losses are not of 20 updates": len(losses) != _UPDATES,
        "it did not continue": summary["continued_from"] != _CUT,
        "the loss has not fallen": last >= first,
    }
    problem = ", ".join(text for text, holds in problems.items() if holds)
    return dict(first_loss=first, last_loss=last, accuracy=accuracy, problem=problem)


def table(cases: Sequence[Case]) -> Tuple[List[str], List[List[str]]]:
    """Header and rows."""
    losses = [f"mean loss of the {place} {_ENDS} updates" for place in ("first", "last")]
    header = ["network", "precision", *losses, "accuracy", "problem"]
    rows = []
    for case in cases:
        losses = [f"{case[key]:.2f}" for key in ("first_loss", "last_loss")]
        rows.append([case["network"], case["precision"], *losses, f"{case['accuracy']:.1%}", case["problem"]])
    return header, rows


if __name__ == "__main__":
    sys.exit(main())
