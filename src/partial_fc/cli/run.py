"""What the families of commands share: their parsers, and how a command is run."""

import argparse
import logging
import re
from types import ModuleType
from typing import Any, Callable, Sequence

from ..errors import INTERRUPTED, InputError, exit_status
from ..output.log import Console
from ..output.printable import print_message
from .parser import Parser

log = logging.getLogger("partial_fc")


def run(args: argparse.Namespace) -> int:
    """Run a command, `args.run(args)`, and log to the terminal; returns the exit status, see errors.py.

    An error that the user can correct, or of the disk, is printed in one line without a traceback; so is Ctrl-C.

    Raises:
        BrokenPipeError: for `closed_pipe.quiet_pipe`.
    """
    if not log.handlers:
        log.addHandler(Console("stderr"))
    log.setLevel(logging.INFO)
    try:
        return args.run(args) or 0
    except BrokenPipeError:
        raise
    except (InputError, OSError) as error:
        print_message(f"error: {with_flags(str(error), args)}")
        return exit_status(error)
    except KeyboardInterrupt:
        print_message("interrupted")
        return INTERRUPTED


def with_flags(message: str, args: argparse.Namespace) -> str:
    """A message in which the library names parameters (`` `batch_size` ``), with the options of the command instead."""

    def flag(match: "re.Match[str]") -> str:
        return "--" + match[1].replace("_", "-") if hasattr(args, match[1]) else match[0]

    return re.sub(r"`([a-z_]+)`", flag, message)


def family_parser(name: str, description: str, modules: Sequence[ModuleType], example: str) -> Parser:
    """Parser of `partial-fc NAME ...`, to which `add(commands)` of each module adds its commands."""
    result = Parser(prog=f"partial-fc {name}", description=description, example=example)
    commands = result.add_subparsers(dest=f"{name}_command", required=True, metavar="COMMAND")
    for module in modules:
        module.add(commands)
    return result


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], Any], help: str, description: str, example: str
) -> Parser:
    """Add a command to argparse's sub-parsers.

    Args:
        commands: what `add_subparsers` returned.
        name: of the command.
        run: what `run.run` calls with the parsed arguments.
        help: one line for the list of commands.
        description: paragraphs for the command's `--help`.
        example: a command line, for the end of it.
    """
    command = commands.add_parser(name, help=help, description=description, example=example)
    command.set_defaults(run=run)
    return command
