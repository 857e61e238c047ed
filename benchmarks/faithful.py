"""Whether our training is the published one: both from the same start, with the same batches and settings.

    python -m benchmarks.faithful --data DIR [--seeds N] [--json FILE]

DIR has Labeled Faces in the Wild, see `benchmarks.lfw`; the network is the demo's. First 100 updates at a learning rate
of 0.001: the losses should differ by no more than those of two trainings of ours whose first weights differ by one unit
in the last place. Then `benchmarks.lfw`'s training at a learning rate of 0.1, with N seeds: accuracies on people who
were not trained on. Seven minutes for a seed on two cores.
"""

import statistics
import sys
import tempfile
from typing import Any, Dict, List, Optional, Sequence

from partial_fc import files

from .lfw import FILES, extract
from .measure import on_ranks, print_table
from .training import pack, parser

SIZE = 56  # pixels
MARGINS = {"cosface": dict(s=32.0, m3=0.4), "arcface": dict(s=32.0, m2=0.5)}
SETTING = dict(
    network="demo", image_size=SIZE, embedding_size=128, batch_size=64, wd=5e-4, lr=0.001, lr_steps=[], updates=100
)
EARLY = 5  # updates in which rounding has not yet grown
LEARNING = dict(wd=1e-3, lr=0.1, lr_steps=[700, 1000], updates=1150)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = parser("faithful", "Compare our training with the published one.", FILES)
    arguments.add_argument("--seeds", type=int, default=3, help="of the training at a learning rate of 0.1 (3)")
    args = arguments.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        extract(args.data, folder)
        records = pack(folder, SIZE, lambda draw, people: draw.sample(people, 2))
        rec = f"{records}/train.rec"
        losses = {name: loss_differences(dict(SETTING, rec=rec, margin=margin)) for name, margin in MARGINS.items()}
        accuracies = {seed: learn(rec, f"{records}/heldout.bin", seed) for seed in range(args.seeds)}
    _print(losses, accuracies)
    if args.json:
        files.write_json(args.json, dict(losses=losses, accuracies=accuracies))
    return 0


def loss_differences(case: Dict[str, Any]) -> Dict[str, Any]:
    """First and last loss of ours, and by training how far `published` and `nudged` losses are from ours.

    Args:
        case: see `SETTING`; with `rec`, a record file, and `margin`, arguments of MarginSoftmax.

    Returns:
        `first`, `last`; `published` and `nudged`, each with the largest relative differences of the first updates and
        of all: `early` and `all`, and with their mean: `mean`.
    """
    names = ["ours", "published", "nudged"]
    found = on_ranks("benchmarks.faithful_worker", dict(case=dict(case, seed=0), names=names, val=""))
    ours = found["ours"]["losses"]
    result: Dict[str, Any] = dict(first=ours[0], last=ours[-1])
    for name in names[1:]:
        differences = [abs(other - own) / own for other, own in zip(found[name]["losses"], ours)]
        mean = statistics.mean(differences)
        result[name] = dict(early=max(differences[:EARLY]), all=max(differences), mean=mean)
    return result


def learn(rec: str, val: str, seed: int) -> Dict[str, float]:
    """Accuracies on a verification set, by training: `ours` and `published`."""
    case = dict(SETTING, **LEARNING, rec=rec, margin=MARGINS["cosface"], seed=seed)
    found = on_ranks("benchmarks.faithful_worker", dict(case=case, names=["ours", "published"], val=val))
    return {name: each["accuracy"] for name, each in found.items()}


def _print(losses: Dict[str, Dict[str, Any]], accuracies: Dict[int, Dict[str, float]]) -> None:
    header = [
        "loss",
        "first",
        "last",
        "compared with ours",
        f"updates 1 to {EARLY}",
        f"1 to {SETTING['updates']}",
        "mean",
    ]
    rows = []
    for loss, each in losses.items():
        for name, label in (("published", "published"), ("nudged", "ours, start one unit apart")):
            differences = [f"{each[name][key]:.0e}" for key in ("early", "all", "mean")]
            rows.append([loss, f"{each['first']:.4f}", f"{each['last']:.4f}", label, *differences])
    print_table(header, rows)
    print()
    if accuracies:
        print_table(
            ["training", *(f"seed {seed}" for seed in accuracies), "mean", "standard deviation"], _rows(accuracies)
        )


def _rows(accuracies: Dict[int, Dict[str, float]]) -> List[List[str]]:
    rows = []
    for name in ("ours", "published"):
        values = [each[name] for each in accuracies.values()]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        rows.append([name, *(f"{value:.1%}" for value in (*values, statistics.mean(values), deviation))])
    return rows


if __name__ == "__main__":
    sys.exit(main())
