"""A whole update of training against its parts: r18 at 112 x 112, 8 images per rank, 50,000 classes. About two minutes.

    python -m benchmarks.step [--precision float32|bfloat16] [--json FILE] [--runs 9]

Two ranks of one thread each take turns at the backbone alone (forward, backward, sum of gradients over the ranks,
update), the head alone (embeddings given), the whole update as training does it, and the same in float32 with the plain
symbol as MXNet executes it (*stock*).
"""

import sys
from typing import Optional, Sequence

from .measure import on_ranks, parser, print_table, write_json

CASE = dict(
    num_classes=50_000, sample_ratio=1.0, embedding_size=512, global_batch_size=16, network="r18", image_size=112
)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    args = parser("step", "Time an update of backbone and head.", runs=9, precisions=True).parse_args(argv)
    case = dict(CASE, precision=args.precision)
    result = on_ranks("benchmarks.step_worker", dict(case=case, runs=args.runs))
    values = [result[f"{name}_seconds"] for name in ("backbone", "head", "step")] + [result["ratio_to_parts"]]
    values += [result["stock_seconds"], result["speed_up"]]
    header = ["backbone s", "head s", "both s", "both / sum of the two", "stock s", "stock / both"]
    print_table(header, [[f"{value:.3f}" for value in values]])
    if args.json:
        write_json(args.json, [result])
    return 0


if __name__ == "__main__":
    sys.exit(main())
