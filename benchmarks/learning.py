"""Which margin, and which optimizer? Faces and handwritten characters, the same training with each.

    python -m benchmarks.learning --data DIR [--only NAME ...] [--seeds N] [--json FILE]

DIR has the files of benchmarks.lfw and benchmarks.omniglot, in itself or in its folders; their trainings with all
centers are repeated here with the seeds 0, 1, 2. The margins are those of the presets; AdamW has learning rates and a
weight decay of its own, chosen with another seed. With `--json` a command that was cut off, or is given other names,
trains what the file lacks. About an hour on two cores.
"""

import sys
from typing import Optional, Sequence

from .measure import print_table
from .tasks import Variant, compare, parser, table

TASKS = "LFW, r=1", "Omniglot, r=1"
VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("CosFace"),
        Variant("ArcFace", loss="arcface"),
        Variant("AdaFace", loss="adaface"),
        Variant("sub-centers", settings=["sub_centers=3"]),
        Variant(
            "AdamW",
            settings="optimizer=adamw center_optimizer=adamw backbone_lr=0.003 memory_bank_lr=0.003 wd=0.05".split(),
        ),
    )
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = parser("learning", "Train with several margins and optimizers.", list(VARIANTS), "NAME")
    args = arguments.parse_args(argv)
    cases = compare(args, TASKS, [variant for name, variant in VARIANTS.items() if name in args.only], arguments)
    print_table(*table(cases, "training"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
