"""Collectives of the sizes that a step of the head exchanges, under MPI and under Gloo. About fifteen seconds.

    python -m benchmarks.collectives [--json FILE] [--runs 30]

Two ranks of one thread each, 512 embeddings of size 512 per rank. Bytes are those of the whole array: what a gather
returns, what a reduce-scatter and an all-reduce are given. Times are medians over the rounds, those of the slower rank.
"""

import sys
from typing import Optional, Sequence

from .measure import on_ranks, parser, print_table, write_json

_LAUNCHERS = ("MPI", "Gloo")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    args = parser("collectives", "Time the collectives of the head.", runs=30).parse_args(argv)
    cases = [
        dict(launcher=launcher, **case)
        for launcher in _LAUNCHERS
        for case in on_ranks("benchmarks.collectives_worker", {"runs": args.runs}, launcher)
    ]
    print_table(["collective", "bytes", *(f"{launcher} ms" for launcher in _LAUNCHERS)], _rows(cases))
    if args.json:
        write_json(args.json, cases)
    return 0


def _rows(cases):
    milliseconds = {(case["collective"], case["bytes"], case["launcher"]): case["ms"] for case in cases}
    for collective, size in dict.fromkeys(key[:2] for key in milliseconds):
        yield [collective, f"{size:,}", *(f"{milliseconds[collective, size, each]:.2f}" for each in _LAUNCHERS)]


if __name__ == "__main__":
    sys.exit(main())
