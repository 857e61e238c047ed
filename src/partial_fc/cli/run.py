"""What the families of commands share: their parsers, and how a command is run."""

import logging

from ..errors import InputError
from ..output.log import Console
from ..output.printable import print_message
from .parser import Parser

log = logging.getLogger("partial_fc")


def run(args):
    """Run a command, `args.run(args)`, whose log goes to the terminal; returns the exit status.

    What a user can mend, a full disk among it, is one line, without a traceback; so is Ctrl-C.

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
        print_message(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        print_message("interrupted")
        return 130  # as shells have it


def family_parser(name, description, modules):
    """Parser of `partial-fc NAME ...`, to which `add(commands)` of each module adds its commands."""
    result = Parser(prog=f"partial-fc {name}", description=description)
    commands = result.add_subparsers(dest=f"{name}_command", required=True, metavar="COMMAND")
    for module in modules:
        module.add(commands)
    return result
