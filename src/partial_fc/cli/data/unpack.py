"""The command `partial-fc data unpack`, and that of the published system, unpack_glint360k.py."""

import argparse
import logging
import sys
from typing import Any, Optional, Sequence

from ...output.closed_pipe import quiet_pipe
from ..options import RECORDS, shown
from ..parser import Parser
from ..run import add_command, run
from .reading import add_reading, reading

log = logging.getLogger("partial_fc")

_UNPACK = """\
Write every image as OUT/id_LABEL/LABEL_N.jpg, where N counts the images of all identities. Labels of the second source
follow those of the first. Images that exist already are left as they are, so an interrupted run continues when it is
started again."""
_BAD = "it cannot be read, or its label is not that of an identity"


def add(commands: Any) -> None:
    """Add the command to the sub-parsers."""
    command = add_command(
        commands,
        "unpack",
        _unpack,
        help="record files to folders of images",
        description=_UNPACK,
        example="partial-fc data unpack data/all images",
    )
    command.add_argument("sources", nargs="+", metavar="SOURCE", help=RECORDS)
    command.add_argument("out", metavar="OUT", help="folder of the images")
    add_reading(command, _BAD)


@quiet_pipe
def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run unpack_glint360k.py, which has the options of the published system; returns the exit status."""
    parser = Parser(
        prog="unpack_glint360k.py",
        description=_UNPACK,
        example="python unpack_glint360k.py --include data/glint360k --output images",
    )
    parser.add_argument(
        "--include",
        dest="sources",
        required=True,
        metavar="SOURCE[,SOURCE]",
        type=lambda text: text.split(","),
        help=RECORDS,
    )
    parser.add_argument("--output", dest="out", required=True, metavar="OUT", help="folder of the images")
    add_reading(parser, _BAD)
    parser.set_defaults(run=_unpack)
    return run(parser.parse_args(argv))


def _unpack(args: argparse.Namespace) -> None:
    from ...data.tools.unpack import unpack

    images, identities = unpack(args.sources, args.out, shown("images"), reading(args))
    log.info("%s: %d images of %d identities", args.out, images, identities)


if __name__ == "__main__":
    sys.exit(main())
