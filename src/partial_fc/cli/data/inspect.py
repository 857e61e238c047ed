"""`partial-fc data info` and `check`."""

import json

from ...data.progress import progress
from ...output.printable import print_lines
from .arguments import SOURCE, positive


def add(commands):
    """Add the commands to argparse's sub-parsers."""
    _add_info(commands)
    _add_check(commands)


def _add_info(commands):
    command = commands.add_parser(
        "info",
        help="what a data set holds",
        description="Print how many images and identities a data set has, and of what size and kind they are.",
    )
    command.add_argument("source", metavar="DIR", help=SOURCE)
    command.add_argument(
        "--pictures", metavar="FOLDER", help="write histogram.png and contact-sheet.png, a row of images an identity"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=_info)


def _add_check(commands):
    command = commands.add_parser(
        "check",
        help="find errors in a data set",
        description="Read and decode every record, and compare labels, index and ranges of identities with each other. "
        "What can be trained with, but may not be meant, is a note: duplicates, grey images and the like. The exit "
        "status is 1 if there are errors.",
    )
    command.add_argument("source", metavar="DIR", help=SOURCE)
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.add_argument("--workers", type=positive, default=4, metavar="N", help="threads (%(default)s)")
    command.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="height and width that images have to have (those in the file property, or else of the first image)",
    )
    command.set_defaults(run=_check)


def _info(args):
    from ...data.tools.info import info, info_text

    facts = info(args.source, args.pictures)
    print_lines([json.dumps(facts)] if args.json else info_text(facts))


def _check(args):
    from ...data.tools.check import BLOCK, check, check_text

    facts = check(
        args.source,
        args.size and (args.size, args.size),
        args.workers,
        lambda blocks: progress(blocks, f"blocks of {BLOCK} images"),
    )
    print_lines([json.dumps(facts)] if args.json else check_text(facts))
    return 1 if facts["errors"] else 0
