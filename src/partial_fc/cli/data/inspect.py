"""`partial-fc data info` and `check`."""

import argparse
import json
import os
from typing import Any

from ...errors import PROBLEMS_FOUND, InputError
from ..options import RECORDS, add_json, add_workers, check_file_to_write, check_folder_to_write, print_result, shown
from ..parser import positive
from ..run import add_command

_CHECK = f"""\
Read and decode every record, and compare labels, index and ranges of identities with each other. Duplicates,
gray images and other things that may be unintended, but do not prevent training, are reported as notes.

The exit status is {PROBLEMS_FOUND} if there are errors."""


def add(commands: Any) -> None:
    """Add the commands to argparse's sub-parsers."""
    command = add_command(
        commands,
        "info",
        _info,
        help="count images and identities of a data set",
        description="Print how many images and identities a data set has, and of what size and kind the images are.",
        example="partial-fc data info data/all --pictures pictures",
    )
    command.add_argument("source", metavar="SOURCE", help=RECORDS)
    command.add_argument(
        "--pictures",
        metavar="DIR",
        help="write histogram.png and contact-sheet.png, one row of images per identity, there (default: no pictures)",
    )
    add_json(command)
    command = add_command(
        commands,
        "check",
        _check,
        help="find errors in a data set",
        description=_CHECK,
        example="partial-fc data check data/all --size 112",
    )
    command.add_argument("source", metavar="SOURCE", help=RECORDS)
    command.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="height and width that all images must have, in pixels (default: those in the file property, or else of "
        "the first image)",
    )
    add_workers(command, "decode")
    add_json(command)


def _info(args: argparse.Namespace) -> None:
    from ...data.tools.info import info, info_text

    check_file_to_write("--json", args.json)
    check_folder_to_write("--pictures", args.pictures)
    facts = info(args.source, args.pictures)
    print_result(info_text(facts), json.dumps(facts), args.json)


def _check(args: argparse.Namespace) -> int:
    from ...data.records.data_set import record_path
    from ...data.tools.check import BLOCK, check, check_text

    check_file_to_write("--json", args.json)
    path = record_path(args.source)
    if not os.path.exists(path):  # wrong input, and not something wrong in a data set
        raise InputError(f"{path}: no such file")
    size = (args.size, args.size) if args.size else None
    facts = check(args.source, size, args.workers, shown(f"blocks of {BLOCK} images"))
    print_result(check_text(facts), json.dumps(facts), args.json)
    return PROBLEMS_FOUND if facts["errors"] else 0
