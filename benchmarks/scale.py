"""Ten million identities on one machine: time of a step, of the start, and memory. About three minutes, 14 GiB.

    python -m benchmarks.scale [--json FILE] [--plot FILE] [--runs 15]

Two ranks of one thread each. First the same 10,000 rows per rank out of 100 thousand, 1 and 10 million classes of
size 128, 256 embeddings per rank: all banks are in memory, and their steps take turns. Then the peak memory of a rank
at r = 1 for two numbers of classes of size 512, 512 embeddings per rank: the difference of the two is compared with
what centers, momentum, logits, unit centers and their gradient take.
"""

import sys
from typing import Optional, Sequence

from matplotlib.figure import Figure

from .measure import on_ranks, parser, print_table, write_json

RANKS = 2
ROWS = [
    dict(num_classes=num_classes, sample_ratio=20_000 / num_classes, embedding_size=128, global_batch_size=512)
    for num_classes in (100_000, 1_000_000, 10_000_000)
]
MEMORY = [
    dict(num_classes=num_classes, sample_ratio=1.0, embedding_size=512, global_batch_size=1024)
    for num_classes in (40_000, 120_000)
]
_WORKER = "benchmarks.scale_worker"


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = parser("scale", "Time steps and measure memory by the number of classes.", runs=15)
    arguments.add_argument("--plot", metavar="FILE", help="draw step time over the number of classes, a PNG")
    args = arguments.parse_args(argv)
    steps = on_ranks(_WORKER, dict(measure="steps", cases=ROWS, runs=args.runs), ranks=RANKS)
    memory = [on_ranks(_WORKER, dict(measure="memory", cases=[case]), ranks=RANKS)[0] for case in MEMORY]
    print_table(["classes", "start s", "step ms", "relative to the first row"], _step_rows(steps))
    print()
    print_table(["classes", "peak memory per rank MB", "centers and momentum MB", "the rest"], _memory_rows(memory))
    small, large = memory
    extra, allowed = (large[key] - small[key] for key in ("extra_mb", "allowed_mb"))
    print(f"\nThe rest grows by {extra:.0f} MB; logits, unit centers and their gradient by {allowed:.0f} MB.")
    if args.plot:
        _plot(args.plot, steps)
    if args.json:
        write_json(args.json, steps + memory)
    return 0


def _step_rows(cases):
    first = cases[0]["step_seconds"]
    for case in cases:
        start, step = case["start_seconds"], case["step_seconds"]
        yield [f"{case['num_classes']:,}", f"{start:.1f}", f"{1000 * step:.1f}", f"{step / first:.2f}"]


def _memory_rows(cases):
    for case in cases:
        sizes = (case["peak_rss_mb"], case["peak_rss_mb"] - case["extra_mb"], case["extra_mb"])
        yield [f"{case['num_classes']:,}", *(f"{size:,.0f}" for size in sizes)]


def _plot(path, cases):
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    panel = figure.subplots()
    panel.set(xscale="log", xlabel="classes, 10,000 rows of each rank in a step", ylabel="step, ms", ylim=(0, None))
    middle, low, high = ([1000 * case[f"step_seconds{end}"] for case in cases] for end in ("", "_min", "_max"))
    classes = [case["num_classes"] for case in cases]
    panel.fill_between(classes, low, high, alpha=0.2)
    panel.plot(classes, middle, "o-")
    panel.set_ylim(0, 1.1 * max(high))
    panel.grid(alpha=0.3)
    figure.savefig(path, format="png")


if __name__ == "__main__":
    sys.exit(main())
