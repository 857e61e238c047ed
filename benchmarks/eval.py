"""Evaluation: speed and memory of each part, and what a lower precision changes.

    python -m benchmarks.eval --data DIR [--only PART ...] [--precision bfloat16] [--json FILE]

DIR has `lfw-112x112.zip`: 13,233 JPEGs of 112 x 112 pixels, and for the part `precision` the `split.tsv` of
benchmarks.lfw.
"""

import sys
from typing import Optional, Sequence

from partial_fc import files

from . import eval_embedding, eval_precision, eval_protocols
from .measure import machine
from .training import CPU_PRECISIONS, folder_with, parser

# Functions of the command's arguments; each prints its tables and returns what is written as JSON.
PARTS = {
    "embedding": eval_embedding.measure,
    "precision": eval_precision.measure,
    "ijb": eval_protocols.ijb,
    "megaface": eval_protocols.megaface,
    "ifrt": eval_protocols.ifrt,
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status, 1 if the precisions differ too much in accuracy."""
    arguments = parser("eval", "Measure the evaluation.", (eval_embedding.IMAGES,))
    arguments.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS) + " (all)"
    )
    arguments.add_argument(
        "--precision", choices=CPU_PRECISIONS, default="float32", help="of the networks of the part embedding (float32)"
    )
    args = arguments.parse_args(argv)
    if "precision" in args.only:
        folder_with(args.data, eval_precision.TASK.files, arguments)
    results = {name: PARTS[name](args) for name in args.only}
    if args.json:
        files.write_json(args.json, dict(machine=machine(), **results))
    problems = [problem for result in results.values() for problem in result.get("problems", ())]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
