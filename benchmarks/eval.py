"""Evaluation: speed and memory of each part.

    python -m benchmarks.eval --data DIR [--only PART ...] [--precision bfloat16] [--json FILE]

DIR has `lfw-112x112.zip`: 13,233 JPEGs of 112 x 112 pixels.
"""

import json
import sys
from typing import Optional, Sequence

from . import eval_embedding, eval_protocols
from .measure import machine
from .training import parser

# Functions of the command's arguments; each prints its tables and returns what is written as JSON.
PARTS = {
    "embedding": eval_embedding.measure,
    "ijb": eval_protocols.ijb,
    "megaface": eval_protocols.megaface,
    "ifrt": eval_protocols.ifrt,
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = parser("eval", "Time the evaluation and tell its memory.", (eval_embedding.IMAGES,))
    arguments.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS) + " (all)"
    )
    arguments.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="of the networks that embed (float32)"
    )
    args = arguments.parse_args(argv)
    results = {name: PARTS[name](args) for name in args.only}
    if args.json:
        with open(args.json, "w") as file:
            json.dump(dict(machine=machine(), **results), file, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
