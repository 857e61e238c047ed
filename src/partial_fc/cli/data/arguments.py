"""What the commands' arguments share."""

import argparse

from ...limits import usable_cores
from ..parser import number, whole_number

SOURCE = "folder with train.rec and train.idx, or path of a .rec file"


def positive(text):
    """Type of arguments that are whole numbers from 1 on."""
    value = whole_number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


def share(text):
    """Type of arguments that are numbers from 0 to 1."""
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, not {text}")
    return value


def add_workers(command, what):
    """Add --workers, the number of threads that do `what` (str)."""
    command.add_argument(
        "--workers",
        type=positive,
        default=usable_cores(),
        metavar="N",
        help=f"threads that {what} (%(default)s, the cores there are)",
    )


def add_reading(command, bad):
    """Add the arguments of `reading`; `bad` (str) says which records are bad."""
    add_workers(command, "read")
    command.add_argument(
        "--on-bad-record",
        choices=("error", "skip"),
        default="error",
        help=f"what to do at a record that is bad: {bad} (%(default)s)",
    )
    command.add_argument(
        "--bad-record-share",
        type=share,
        default=0.001,
        metavar="SHARE",
        help="of the images that may be skipped; if more are bad, the command ends with an error (%(default)s)",
    )


def reading(args):
    """Reading that the parsed arguments tell."""
    from ...data.tools.copying import Reading  # imports OpenCV: --help need not wait for it

    return Reading(args.workers, args.on_bad_record, args.bad_record_share)
