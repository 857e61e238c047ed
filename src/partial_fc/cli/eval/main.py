"""The commands `partial-fc eval ...`."""

from ...output.closed_pipe import quiet_pipe
from ..run import family_parser, run
from . import embed, ifrt, ijb, megaface, verification


def parser():
    """Parser of the commands."""
    return family_parser("eval", "Measure trained models.", (verification, ijb, megaface, ifrt, embed))


@quiet_pipe
def main(argv=None):
    """Run a command; returns the exit status."""
    return run(parser().parse_args(argv))
