"""The commands `partial-fc data ...`."""

from ...output.closed_pipe import quiet_pipe
from ..run import family_parser, run
from . import glint360k, inspect, pack, rewrite, unpack


def parser():
    """Parser of the commands."""
    return family_parser("data", "Make, examine and take apart data sets.", (pack, unpack, rewrite, inspect, glint360k))


@quiet_pipe
def main(argv=None):
    """Run a command; returns the exit status."""
    return run(parser().parse_args(argv))
