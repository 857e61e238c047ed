"""The commands `partial-fc eval ...`."""

from typing import Optional, Sequence

from ...output.closed_pipe import quiet_pipe
from ..parser import Parser
from ..run import family_parser, run
from . import embed, identify, ifrt, ijb, megaface, pair, verification


def parser() -> Parser:
    """Parser of the commands."""
    return family_parser(
        "eval",
        "Evaluate trained models.",
        (verification, ijb, megaface, ifrt, embed, pair, identify),
        "partial-fc eval verification --model models/faces-r50-cosface/model --bin lfw.bin",
    )


@quiet_pipe
def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run a command; returns the exit status."""
    return run(parser().parse_args(argv))
