"""The command `partial-fc`."""

import contextlib
import sys

from .. import __version__
from ..errors import InputError
from ..output.closed_pipe import quiet_pipe
from .centers import main as centers
from .data.main import main as data
from .doctor import main as doctor
from .eval.main import main as evaluate
from .parser import Parser
from .train_arguments import parser as train_parser


@quiet_pipe
def main(argv=None):
    """Run the command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    commands = {"train": _train, "data": data, "eval": evaluate, "centers": centers, "doctor": doctor}
    if argv and argv[0] in commands:
        return commands[argv[0]](argv[1:])
    _parser().parse_args(argv)
    return 0


def _train(argv):
    with contextlib.suppress(InputError):  # wrong arguments are the trainer's to name, on all ranks
        train_parser().parse_args(argv)  # --help ends here: it need not wait for MXNet
    from .train import main as train

    return train(argv)


def _parser():
    result = Parser(prog="partial-fc", description="Partial FC for MXNet and Horovod.")
    result.add_argument("--version", action="version", version=__version__)
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, meaning in (
        ("train", "train a model"),
        ("data", "make and take apart data sets"),
        ("eval", "measure trained models"),
        ("centers", "convert class centers"),
        ("doctor", "find out what is wrong with this machine"),
    ):
        commands.add_parser(name, help=meaning, add_help=False)
    return result
