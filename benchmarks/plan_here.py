"""Predicted against measured on this machine: the head, whole updates, and the memory of a rank. About ten minutes.

    OMP_NUM_THREADS=1 partial-fc plan --measure 1,2,3
    python -m benchmarks.plan_here [--json FILE] [--runs 5] [--only head|step] [--processor-time]

Ranks of one thread each, on one host. A time is that of the slowest rank in the fastest round, as `--measure` has it:
other programs can only add to it. Memory is the most that a process has taken, of the rank that takes most. Each case
runs in processes of its own.
"""

import sys
from typing import Any, Dict, Iterator, List, Optional, Sequence

from partial_fc.config import Run, make_config, preset
from partial_fc.planning.cards import HERE, find_card
from partial_fc.planning.collectives import Cluster
from partial_fc.planning.plan import Plan, Setting, make_plan
from partial_fc.planning.seconds import total_seconds
from partial_fc.symbol import get_symbol

from .measure import on_ranks, parser, print_table, write_json
from .training import CPU_PRECISIONS

# Sizes of the head by classes and ratio: with 10 million, centers of size 128 are what this machine holds.
HEADS: List[Dict[str, Any]] = [
    dict(num_classes=50_000, sample_ratio=1.0, embedding_size=512, global_batch_size=1024),
    dict(num_classes=500_000, sample_ratio=0.1, embedding_size=512, global_batch_size=1024),
    dict(num_classes=1_000_000, sample_ratio=0.1, embedding_size=512, global_batch_size=512),
    dict(num_classes=10_000_000, sample_ratio=0.1, embedding_size=64, global_batch_size=128),
]
STEPS: List[Dict[str, Any]] = [
    dict(num_classes=50_000, sample_ratio=1.0, embedding_size=512, network=network, image_size=112)
    for network in ("r18", "r50")
]
_IMAGES = 8  # per rank, of a whole update
RANKS = (1, 2, 3)
_OF_HEAD = ("products", "softmax", "casts", "centers", "gather embeddings", "gather log-sum-exp", "scatter gradient")
_ARRAYS = ("centers", "center_state", "rows", "logits", "unit_centers", "embeddings", "scratch")  # of the head
_MIB = 2**20


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = parser("plan_here", "Compare predictions with measurements on this machine.", runs=5)
    arguments.add_argument("--only", choices=("head", "step"), help="measure only these (default: both)")
    arguments.add_argument(
        "--processor-time",
        action="store_true",
        help="measure processor time of one rank: what other programs on a busy machine hardly change",
    )
    args = arguments.parse_args(argv)
    cases: List[Dict[str, Any]] = []
    print_table(_HEADER, _rows(args.only, args.runs, args.processor_time, cases))
    if args.json:
        write_json(args.json, cases)
    return 0


def _rows(only: Optional[str], runs: int, processor_time: bool, cases: List[Dict[str, Any]]) -> Iterator[List[str]]:
    """Rows of the table, each as soon as it is measured; the cases are added to the list."""
    for case in _cases(only, RANKS[:1] if processor_time else RANKS):
        cases.append(measure(case, runs, processor_time))
        yield _cells(cases[-1])


def _cases(only: Optional[str], numbers: Sequence[int]) -> Iterator[Dict[str, Any]]:
    for ranks in numbers:
        for precision in CPU_PRECISIONS:
            for case in (HEADS if only != "step" else []) + (STEPS if only != "head" else []):
                # A global batch that all numbers of ranks divide.
                size = ranks * (case["global_batch_size"] // ranks if "network" not in case else _IMAGES)
                yield dict(case, ranks=ranks, precision=precision, global_batch_size=size)


def measure(case: Dict[str, Any], runs: int, processor_time: bool = False) -> Dict[str, Any]:
    """The case with `predicted_seconds`, `measured_seconds`, `predicted_mib` and `measured_mib`."""
    plan = predict(case)
    arguments = dict(case=case, runs=runs, processor_time=processor_time)
    measured = on_ranks("benchmarks.plan_worker", arguments, ranks=case["ranks"])
    whole = "network" in case
    parts = {name: part for name, part in plan.parts.items() if whole or name in _OF_HEAD}
    arrays = sum(size for name, size in plan.device.items() if name != "libraries" and (whole or name in _ARRAYS))
    memory = arrays / _MIB + find_card(HERE, case["ranks"]).context
    return dict(case, predicted_seconds=total_seconds(parts), predicted_mib=memory, **measured)


def predict(case: Dict[str, Any]) -> Plan:
    """The plan of a case, by the figures that `partial-fc plan --measure` has stored."""
    ranks, network = case["ranks"], case.get("network", "demo")
    keys = {key: case[key] for key in ("num_classes", "sample_ratio", "embedding_size", "precision")}
    keys.update(batch_size=case["global_batch_size"] // ranks, image_size=case.get("image_size", 48))
    config = make_config({**preset("cosface", "100w", network), **keys})
    run, symbol = Run(config, "", config.num_classes), get_symbol(network, config.embedding_size, "FC")
    return make_plan(Setting(run, symbol, Cluster(ranks, ranks, 0), find_card(HERE, ranks), case["precision"]))


_HEADER = ["case", "ranks", "precision", "predicted s", "measured s", "off", "predicted MiB", "measured MiB", "off"]


def _cells(case: Dict[str, Any]) -> List[str]:
    what = case.get("network", "head")
    title = f"{what}, N={case['num_classes']:,}, r={case['sample_ratio']:g}, D={case['embedding_size']}, "
    cells = [title + f"B={case['global_batch_size']}", str(case["ranks"]), case["precision"]]
    for unit, digits in (("seconds", 3), ("mib", 0)):
        predicted, measured = case[f"predicted_{unit}"], case[f"measured_{unit}"]
        cells += [f"{predicted:,.{digits}f}", f"{measured:,.{digits}f}", f"{predicted / measured - 1:+.0%}"]
    return cells


if __name__ == "__main__":
    sys.exit(main())
