"""How the commands that copy records read them."""

import argparse
from typing import TYPE_CHECKING

from ..options import add_workers
from ..parser import share

if TYPE_CHECKING:
    from ...data.tools.copying import Reading


def add_reading(command: argparse.ArgumentParser, bad: str) -> None:
    """Add the options of `reading`; `bad` says which records are bad."""
    add_workers(command, "read")
    command.add_argument(
        "--on-bad-record",
        choices=("error", "skip"),
        default="error",
        help=f"end with an error at a bad record, or skip it. A record is bad if {bad}",
    )
    command.add_argument(
        "--bad-record-share",
        type=share,
        default=0.001,
        metavar="SHARE",
        help="maximum share of bad images to skip before failing, from 0 to 1",
    )


def reading(args: argparse.Namespace) -> "Reading":
    """The Reading that the parsed arguments ask for."""
    from ...data.tools.copying import Reading  # imports OpenCV: --help need not wait for it

    return Reading(args.workers, args.on_bad_record, args.bad_record_share, getattr(args, "leave_out_images", ()))
