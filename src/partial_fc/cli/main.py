"""The command `partial-fc`."""

import contextlib
import sys
from typing import Callable, Dict, List, Optional

from .. import __version__
from ..errors import InputError
from ..output.closed_pipe import quiet_pipe
from .centers import main as centers
from .data.main import main as data
from .doctor import main as doctor
from .eval.main import main as evaluate
from .export import export_main, import_main
from .parser import Parser
from .plan import main as plan
from .report import main as report
from .train_arguments import parser as train_parser


@quiet_pipe
def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line; returns the exit status, see errors.py."""
    argv = sys.argv[1:] if argv is None else argv
    commands: Dict[str, Callable[[List[str]], int]] = {
        "train": _train,
        "data": data,
        "eval": evaluate,
        "export": export_main,
        "import": import_main,
        "report": report,
        "centers": centers,
        "plan": plan,
        "doctor": doctor,
    }
    if argv and argv[0] in commands:
        return commands[argv[0]](argv[1:])
    parser().parse_args(argv)
    return 0


def _train(argv: List[str]) -> int:
    with contextlib.suppress(InputError):  # the trainer reports wrong arguments, on all ranks
        train_parser().parse_args(argv)  # prints --help without waiting for MXNet
    from .train import main as train

    return train(argv)


def parser() -> Parser:
    """Parser of the names of the commands."""
    result = Parser(
        prog="partial-fc", description="Partial FC for MXNet and Horovod.", example="partial-fc train --help"
    )
    result.add_argument("--version", action="version", version=__version__)
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, meaning in (
        ("train", "train a model"),
        ("data", "make data sets and take them apart"),
        ("eval", "evaluate trained models"),
        ("report", "write an HTML page about runs and evaluations"),
        ("export", "write a trained model as ONNX, or for arcface_torch"),
        ("import", "read a model of arcface_torch"),
        ("centers", "convert class centers, find those that are close"),
        ("plan", "predict memory and speed of a run before it starts"),
        ("doctor", "check whether hosts can train"),
    ):
        commands.add_parser(name, help=meaning, add_help=False)
    return result
