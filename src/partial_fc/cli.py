"""The command `partial-fc`."""

import argparse
import sys

from . import __version__
from .centers_command import main as centers
from .centers_command import parser as centers_parser
from .closed_pipe import quiet_pipe
from .config import parser as train_parser
from .data.commands import main as data
from .data.commands import parser as data_parser
from .doctor.commands import main as doctor
from .doctor.commands import parser as doctor_parser
from .eval.commands import main as evaluate
from .eval.commands import parser as eval_parser


@quiet_pipe
def main(argv=None):
    """Run the command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(argv)
    families = {"data": data, "eval": evaluate, "centers": centers, "doctor": doctor}
    if args.command in families:
        return families[args.command](argv[1:])
    from .train import main as train  # imports MXNet: --help need not wait for it

    return train(argv[1:])


def _parser():
    result = argparse.ArgumentParser(prog="partial-fc", description="Partial FC for MXNet and Horovod.")
    result.add_argument("--version", action="version", version=__version__)
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("train", parents=[train_parser()], add_help=False, help="train a model")
    commands.add_parser("data", parents=[data_parser()], add_help=False, help="make and take apart data sets")
    commands.add_parser("eval", parents=[eval_parser()], add_help=False, help="measure trained models")
    commands.add_parser("centers", parents=[centers_parser()], add_help=False, help="convert class centers")
    commands.add_parser("doctor", parents=[doctor_parser()], add_help=False, help="what is wrong with this machine")
    return result
