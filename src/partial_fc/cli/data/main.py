"""The commands `partial-fc data ...`."""

from typing import Optional, Sequence

from ...output.closed_pipe import quiet_pipe
from ..parser import Parser
from ..run import family_parser, run
from . import curate, glint360k, inspect, pack, rewrite, unpack


def parser() -> Parser:
    """Parser of the commands."""
    return family_parser(
        "data",
        "Make data sets, look at them, and take them apart.",
        (pack, unpack, rewrite, inspect, curate, glint360k),
        "partial-fc data pack photos data/all",
    )


@quiet_pipe
def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run a command; returns the exit status."""
    return run(parser().parse_args(argv))
