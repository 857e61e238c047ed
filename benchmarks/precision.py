"""Does low precision cost accuracy? Faces and handwritten characters, each trained in float32 and in bfloat16.

    python -m benchmarks.precision --data DIR [--only TASK ...] [--seeds N] [--json FILE]

DIR has the files of benchmarks.lfw and benchmarks.omniglot, in itself or in its folders; their trainings are repeated
here with the seeds 0, 1, 2 in both precisions. Of a training only the seed and the precision change, so that a
difference is paired. About 35 minutes on two cores.
"""

import sys
from typing import Optional, Sequence

import mxnet as mx

from partial_fc.device import choose_precision

from .measure import print_table
from .tasks import TASKS, Variant, compare, differences, parser, table
from .training import CPU_PRECISIONS

MAX_DIFFERENCE = 0.5  # points of accuracy
VARIANTS = [Variant(precision, precision=precision) for precision in CPU_PRECISIONS]
_LOW = CPU_PRECISIONS[-1]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status, 1 if the means differ by more than half a point."""
    arguments = parser("precision", "Train in two precisions.", list(TASKS), "TASK")
    args = arguments.parse_args(argv)
    cases = compare(args, args.only, VARIANTS, arguments)
    print_table(*table(cases, "precision"))
    print(f"\nbfloat16 on this CPU: {choose_precision(_LOW, mx.cpu()).reason}.")
    too_far = [name for name, apart in differences(cases).items() if abs(apart[_LOW]) > MAX_DIFFERENCE]
    if too_far:
        print(f"error: {', '.join(too_far)}: more than {MAX_DIFFERENCE} points apart", file=sys.stderr)
    return int(bool(too_far))


if __name__ == "__main__":
    sys.exit(main())
