"""The commands `partial-fc eval ...`, the same as `python -m partial_fc.eval ...`."""

from ..argument_parser import Parser
from ..closed_pipe import quiet_pipe
from ..command_line import run
from . import embed_command, ifrt_command, ijb_command, megaface_command, verification_command

_FAMILIES = (verification_command, ijb_command, megaface_command, ifrt_command, embed_command)


def parser():
    """Parser of the commands."""
    result = Parser(prog="partial-fc eval", description="Measure trained models.")
    commands = result.add_subparsers(dest="eval_command", required=True, metavar="COMMAND")
    for family in _FAMILIES:
        family.add(commands)
    return result


@quiet_pipe
def main(argv=None):
    """Run a command; returns the exit status."""
    return run(parser().parse_args(argv))
