"""The command `partial-fc eval pair`."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from ..options import print_result
from ..run import add_command
from .paths import check_paths
from .photos import PHOTOS, add_photos, open_photos
from .protocol import on_rank_0

if TYPE_CHECKING:
    from ...distributed.communicator import Communicator

_WORDS = {True: "same person", False: "different people", None: "none: --calibrate or --threshold is needed"}


def add(commands: Any) -> None:
    """Add the command to the sub-parsers."""
    command = add_command(
        commands,
        "pair",
        _pair,
        help="print how similar two photos are, and whether they show one person",
        description=f"Compare the faces in two photos.\n\n{PHOTOS}",
        example="partial-fc eval pair A.jpg B.jpg --model PREFIX --calibrate lfw.bin",
    )
    command.add_argument("left", metavar="A.jpg", help="a photo")
    command.add_argument("right", metavar="B.jpg", help="the photo to compare it with")
    add_photos(command)


def _pair(args: argparse.Namespace) -> int:
    from ...eval.output import aligned  # these import MXNet: --help need not wait for it
    from ...eval.photos import similarities

    def work(comm: "Communicator") -> None:
        check_paths(args)
        opened = open_photos(args, comm, [args.left, args.right])
        (cosine,) = similarities(opened.embedder, opened.photos).tolist()
        same = opened.is_same(cosine)
        rows = [
            ("model", opened.embedder.name),
            ("photos", f"{args.left}, {args.right}"),
            ("cosine", f"{cosine:.4f}"),
            *opened.threshold_row(),
            ("decision", _WORDS[same]),
        ]
        facts = {**opened.facts("pair"), "left": args.left, "right": args.right, "cosine": cosine, "same": same}
        print_result(aligned(rows, 2), json.dumps(facts, indent=2, allow_nan=False), args.json)

    return on_rank_0(work)
