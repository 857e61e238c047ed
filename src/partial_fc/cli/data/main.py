"""The commands `partial-fc data ...`."""

from ...output.closed_pipe import quiet_pipe
from ..parser import Parser
from ..run import run
from . import (
    glint360k as glint360k_command,
)
from . import (
    inspect as inspect_commands,
)
from . import (
    pack as pack_command,
)
from . import (
    rewrite as rewrite_commands,
)
from . import (
    unpack as unpack_command,
)

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
