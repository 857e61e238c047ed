"""The published tables of memory and speed, and what `partial-fc plan` predicts for them. About ten seconds.

    python -m benchmarks.plan [--json FILE]

Two rows per card are calibrated: figures of planning/cards.py are fitted to them. All others are predicted. What the
published programs keep and move is counted in their code, see `PROGRAMS`; the same run with this program's head is
predicted beside it.
"""

import argparse
import sys
from functools import lru_cache
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

import mxnet as mx

from partial_fc import files
from partial_fc.backbone.fast import fast_symbol
from partial_fc.config import Run, make_config, preset
from partial_fc.planning.cards import CARDS
from partial_fc.planning.collectives import Cluster
from partial_fc.planning.memory import chosen_rows, memory_parts
from partial_fc.planning.network import Network, network
from partial_fc.planning.plan import Setting, make_plan
from partial_fc.planning.seconds import HeadWork, total_seconds, update_parts
from partial_fc.symbol import get_symbol

from .measure import print_table

_MIB, _PER_HOST = 2**20, 8
_GBIT = 18.0  # of the hosts of the 64 RTX2080Ti: not published, fitted to the calibrated row of 64


class Program(NamedTuple):
    """What a published program keeps and moves.

    Attributes:
        logit_arrays: float32 arrays (B, C) at the peak.
        row_arrays: float32 arrays (C, D) at the peak, beside centers and momentum.
        whole: HeadWork with all classes.
        sampled: HeadWork with some of them.
    """

    logit_arrays: float
    row_arrays: float
    whole: HeadWork
    sampled: HeadWork


# Both compute the head's products in float32. PFC: memory_softmax.py and memory_module.py of recognition/partial_fc.
# Kept: fc7 before and after the margin, its gradient; unit centers, gradients by both, and copies of weight and
# momentum. arcface_torch: partial_fc.py; autograd keeps the input of each step of the margin. Its update of momentum
# and centers is dense: all local classes are moved, not the chosen ones alone.
PROGRAMS = {
    "PFC": Program(3, 5, HeadWork(100, 25, product="float32"), HeadWork(100, 25, 10, product="float32")),
    "arcface_torch": Program(11.6, 7, HeadWork(120, 23, product="float32"), HeadWork(120, 23, 8, 3, product="float32")),
}


class Published(NamedTuple):
    """A row of a published table; None where it has no memory.

    Attributes:
        source: program.
        card, ranks, network, batch_size, precision, num_classes, sample_ratio: of the run; images per rank.
        megabytes: as nvidia-smi has it.
        rate: images per second.
        calibrated: whether figures of the card are fitted to it.
    """

    source: str
    card: str
    ranks: int
    network: str
    batch_size: int
    precision: str
    num_classes: int
    sample_ratio: float
    megabytes: Optional[float]
    rate: float
    calibrated: bool = False

    @property
    def title(self) -> str:
        """The row in words."""
        ratio = "model parallel" if self.sample_ratio == 1 else f"r={self.sample_ratio:g}"
        what = f"{self.ranks} x {self.card}, {self.network}, {self.num_classes:,} classes, {ratio}, "
        return what + f"{self.batch_size} images per GPU, {self.precision}"


# insightface, recognition/partial_fc/README.md. The table of 2080 Ti gives the global batch.
_RTX = [
    Published("PFC", "2080ti", 8, "r50", 128, "float16", 10**6, 1.0, 10408, 2390),
    Published("PFC", "2080ti", 8, "r50", 128, "float16", 10**6, 0.1, 8100, 2780, True),
    Published("PFC", "2080ti", 64, "r50", 32, "float16", 10**7, 1.0, 9684, 4483, True),
    Published("PFC", "2080ti", 64, "r50", 64, "float16", 10**7, 0.1, 6722, 12600),
]
_CLASSES = [
    125_000,
    250_000,
    500_000,
    10**6,
    1_400_000,
    2 * 10**6,
    4 * 10**6,
    5_500_000,
    8 * 10**6,
    16 * 10**6,
    29 * 10**6,
]
_WHOLE = [4824, 4521, 4013, 3449, 3043, 2593, 1748, 1389], [5306, 5826, 7114, 9966, 11178, 13978, 23238, 32188]
_SAMPLED = (
    [5004, 4976, 4900, 4803, 4738, 4626, 4208, 3975, 3565, 2679, 1855],
    [4868, 5004, 5202, 5620, 6056, 6472, 8284, 9854, 12310, 19950, 32324],
)
# insightface, recognition/arcface_torch/docs/speed_benchmark.md, 64 images per GPU: the page's own log of 3 million
# classes at 128 images per GPU shows 28.9 GB, where its table has 18.6 between 2 and 4 million.
_TORCH = [
    Published(
        "arcface_torch", "v100-32", 8, "r50", 64, "float16", classes, ratio, size, rate, (classes, ratio) in fitted
    )
    for ratio, (rates, sizes) in ((1.0, _WHOLE), (0.1, _SAMPLED))
    for fitted in [((5_500_000, 1.0), (4 * 10**6, 0.1))]
    for classes, rate, size in zip(_CLASSES, rates, sizes)
]
# The same README, Glint360K; it names no sample ratio. Here 0.1, that of its method.
_GLINT = [
    Published("PFC", "v100-32", 8, name, batch, precision, 360232, 0.1, None, rate)
    for name, batch, precision, rate in (
        ("r100", 64, "float32", 1748),
        ("r100", 64, "float16", 3357),
        ("r100", 128, "float32", 1847),
        ("r100", 128, "float16", 3867),
        ("r50", 64, "float32", 2921),
        ("r50", 64, "float16", 5428),
        ("r50", 128, "float32", 3045),
        ("r50", 128, "float16", 6112),
    )
]
ROWS = _RTX + _TORCH + _GLINT


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Predict and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description="Predict the published tables.")
    parser.add_argument("--json", metavar="FILE", help="also write the cases to this file")
    args = parser.parse_args(argv)
    cases = [predict(row) for row in ROWS]
    print_table(_HEADER, map(_cells, cases))
    print()
    for line in summary(cases):
        print(line)
    if args.json:
        files.write_json(args.json, dict(cases=cases))
    return 0


def predict(row: Published) -> Dict[str, Any]:
    """The case of a row: what was published, what is predicted for its program and for ours."""
    setting = _setting(row)
    ours = make_plan(setting)
    return dict(
        source=row.source,
        row=row.title,
        published_mb=row.megabytes,
        predicted_mb=_memory(row, setting) if row.megabytes else None,
        published_rate=row.rate,
        predicted_rate=_rate(row, setting),
        calibrated=row.calibrated,
        ours_mb=ours.memory / _MIB,
        ours_rate=ours.rate,
    )


def _setting(row: Published) -> Setting:
    keys = dict(num_classes=row.num_classes, sample_ratio=row.sample_ratio, batch_size=row.batch_size)
    config = make_config({**preset("cosface", "100w", row.network), **keys, "precision": row.precision})
    run = Run(config, "", row.num_classes)
    symbol = get_symbol(row.network, config.embedding_size)
    return Setting(run, symbol, Cluster(row.ranks, _PER_HOST, _GBIT), CARDS[row.card], row.precision)


def _memory(row: Published, setting: Setting) -> float:
    """MiB: backbone, centers and momentum as ours, and what the published head keeps in place of ours."""
    run, program = setting.run, PROGRAMS[row.source]
    parts = memory_parts(run, setting.symbol, row.ranks, mx.gpu(0), row.precision)
    kept: float = sum(size for name, size in parts.items() if name not in ("logits", "unit_centers", "libraries"))
    chosen, total = chosen_rows(run, row.ranks), row.ranks * row.batch_size
    kept += 4 * chosen * (program.logit_arrays * total + program.row_arrays * run.config.embedding_size)
    return setting.card.context + kept / _MIB


def _rate(row: Published, setting: Setting) -> float:
    program = PROGRAMS[row.source]
    head = program.whole if row.sample_ratio == 1 else program.sampled
    work = _work(row.network, row.precision)
    parts = update_parts(setting.run, work, setting.cluster, setting.card, row.precision, head)
    return row.ranks * row.batch_size / total_seconds(parts)


@lru_cache(maxsize=None)
def _work(name: str, precision: str) -> Network:
    return network(fast_symbol(get_symbol(name, 512), mx.gpu(0), precision), 112)


_HEADER = [
    "source",
    "row",
    "published MB",
    "predicted",
    "off",
    "published images/s",
    "predicted",
    "off",
    "ours MB",
    "ours images/s",
]


def _cells(case: Dict[str, Any]) -> List[str]:
    memory = ["", "", ""]
    if case["published_mb"]:
        memory = [f"{case['published_mb']:,.0f}", f"{case['predicted_mb']:,.0f}", _off(case, "mb")]
    rate = [f"{case['published_rate']:,.0f}", f"{case['predicted_rate']:,.0f}", _off(case, "rate")]
    ours = [f"{case['ours_mb']:,.0f}", f"{case['ours_rate']:,.0f}"]
    return [case["source"], case["row"] + " (calibrated)" * case["calibrated"], *memory, *rate, *ours]


def error(case: Dict[str, Any], which: str) -> float:
    """Predicted / published - 1, of `mb` or `rate`."""
    return case[f"predicted_{which}"] / case[f"published_{which}"] - 1


def _off(case: Dict[str, Any], which: str) -> str:
    return f"{error(case, which):+.0%}"


def summary(cases: Sequence[Dict[str, Any]]) -> Iterator[str]:
    """How far the rows that are not calibrated are off, and which are further off than the targets."""
    predicted = [case for case in cases if not case["calibrated"]]
    for which, title, target in (("mb", "memory", 0.10), ("rate", "speed", 0.15)):
        errors = [(abs(error(case, which)), case) for case in predicted if case[f"published_{which}"]]
        far = [case["row"] for size, case in errors if size > target]
        yield f"{title}: {len(errors)} rows predicted, off by {max(errors, key=lambda each: each[0])[0]:.0%} at most."
        if far:
            yield f"Further off than {target:.0%}: {'; '.join(far)}."


if __name__ == "__main__":
    sys.exit(main())
