"""The head's step, compared with its three matrix products and with the published method. About three minutes.

    python -m benchmarks.head [--precision float32|bfloat16] [--negatives exact|zero|correction ...]
        [--json FILE] [--runs 9]

Two ranks of one thread each, 512 given embeddings of size 512 per rank; CosFace. A step goes from embeddings and labels
to loss, gradient and updated centers, the choice of the centers included. All take turns in each round, with the
same embeddings and labels, fresh ones every time. The floor is that of MXNet's operators for products of matrices, in
float32 whatever the precision; the products are the same three as the head computes them. A time is the median over the
rounds, that of the slower rank; ratios are those of the medians. `--negatives` also times steps that filter at a cosine
of 0.4, in one of the modes, or that correct the logits of sampled classes. Memory is not measured: the ranks hold the
centers of the baseline, too.
"""

import sys
from typing import Any, Dict, Optional, Sequence

from .measure import on_ranks, parser, print_table, write_json

RANKS = 2
CASES = [
    dict(num_classes=50_000, sample_ratio=1.0, embedding_size=512, global_batch_size=1024),
    dict(num_classes=500_000, sample_ratio=0.1, embedding_size=512, global_batch_size=1024),
]
_COLUMNS = {
    "floor s": "floor_seconds",
    "products s": "products_seconds",
    "ours s": "step_seconds",
    "ours / floor": "ratio_to_floor",
    "ours / products": "ratio_to_products",
    "published s": "published_seconds",
    "speed-up": "speedup_vs_published",
}
NEGATIVES = ("exact", "zero", "correction")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = parser("head", "Time a step of the head.", runs=9, precisions=True)
    arguments.add_argument("--negatives", nargs="+", choices=NEGATIVES, default=[], help="also time these steps")
    args = arguments.parse_args(argv)
    results = [_measure(dict(case, precision=args.precision), args.runs, args.negatives) for case in CASES]
    columns = {**_COLUMNS, **{f"{name} / ours": f"ratio_{name}" for name in args.negatives}}
    rows = [[title(result)] + [f"{result[name]:.2f}" for name in columns.values()] for result in results]
    print_table(["case", *columns], rows)
    ours, published = (sum(result[name] for result in results) for name in ("bytes_sent", "published_bytes_sent"))
    share = f"{ours / published:.2f} of the published method's"
    print(f"\nEach rank sends {ours / len(results):,.0f} bytes per step, {share}.")
    if args.json:
        write_json(args.json, results)
    return 0


def title(case: Dict[str, Any]) -> str:
    """A case in few words."""
    return "N={num_classes:,}, r={sample_ratio:g}, {precision}".format(**case)


def _measure(case, runs, negatives):
    arguments = dict(case=case, runs=runs, negatives=negatives)
    return dict(case, ranks=RANKS, **on_ranks("benchmarks.head_worker", arguments, ranks=RANKS))


if __name__ == "__main__":
    sys.exit(main())
