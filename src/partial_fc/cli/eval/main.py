"""The commands `partial-fc eval ...`."""

from ...output.closed_pipe import quiet_pipe
from ..parser import Parser
from ..run import run
from . import (
    embed as embed_command,
)
from . import (
    ifrt as ifrt_command,
)
from . import (
    ijb as ijb_command,
)
from . import (
    megaface as megaface_command,
)
from . import (
    verification as verification_command,
)

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
