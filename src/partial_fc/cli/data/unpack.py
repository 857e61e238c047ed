"""The command `partial-fc data unpack`."""

import logging

from ...data.progress import progress
from .arguments import add_reading, reading

log = logging.getLogger("partial_fc")


def add(commands):
    """Add the command to the sub-parsers."""
    command = commands.add_parser(
        "unpack",
        help="record files to folders of images",
        description="Write every image as OUT/id_LABEL/LABEL_N.jpg, N counting all of them. Images that are there "
        "already are left alone: start a run that was broken off again.",
    )
    command.add_argument(
        "--include",
        required=True,
        metavar="DIR[,DIR]",
        type=lambda text: text.split(","),
        help="folders with train.rec and train.idx; labels of the second follow those of the first",
    )
    command.add_argument("--output", required=True, metavar="OUT", help="folder to write to")
    add_reading(command, "one that cannot be read, or whose label is no identity")
    command.set_defaults(run=_unpack)


def _unpack(args):
    from ...data.tools.unpack import unpack

    images, identities = unpack(args.include, args.output, lambda numbers: progress(numbers, "images"), reading(args))
    log.info("%s: %d images of %d identities", args.output, images, identities)
