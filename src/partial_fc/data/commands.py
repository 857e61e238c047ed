"""The commands `partial-fc data ...`, the same as `python -m partial_fc.data ...`."""

import argparse
import logging
import sys

from tqdm.contrib.logging import logging_redirect_tqdm

from ..errors import InputError
from . import glint360k_command, inspect_commands, pack_command, rewrite_commands, unpack_command

log = logging.getLogger("partial_fc")

_FAMILIES = (pack_command, unpack_command, rewrite_commands, inspect_commands, glint360k_command)


def parser():
    """Parser of the commands, for `parents` of another, too."""
    result = argparse.ArgumentParser(prog="partial-fc data", description="Make, examine and take apart data sets.")
    commands = result.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    for family in _FAMILIES:
        family.add(commands)
    return result


def main(argv=None):
    """Run a command; returns the exit status."""
    args = parser().parse_args(argv)
    if not log.handlers:
        log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    try:
        with logging_redirect_tqdm([log]):  # lines of the log above the progress bar, not through it
            return args.run(args) or 0
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
