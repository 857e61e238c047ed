"""The commands `partial-fc data ...`, the same as `python -m partial_fc.data ...`."""

from ..argument_parser import Parser
from ..closed_pipe import quiet_pipe
from ..command_line import run
from . import glint360k_command, inspect_commands, pack_command, rewrite_commands, unpack_command

_FAMILIES = (pack_command, unpack_command, rewrite_commands, inspect_commands, glint360k_command)


def parser():
    """Parser of the commands."""
    result = Parser(prog="partial-fc data", description="Make, examine and take apart data sets.")
    commands = result.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    for family in _FAMILIES:
        family.add(commands)
    return result


@quiet_pipe
def main(argv=None):
    """Run a command; returns the exit status."""
    return run(parser().parse_args(argv))
