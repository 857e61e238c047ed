"""The command `partial-fc data unpack`."""

import logging
import os

from .arguments import positive
from .progress import progress

log = logging.getLogger("partial_fc")


def add(commands):
    """Add the command to the sub-parsers."""
    command = commands.add_parser(
        "unpack", help="record files to folders of images",
        description="Write every image as OUT/id_LABEL/LABEL_N.jpg, N counting all of them. Images that are there "
        "already are left alone: start a run that was broken off again.",
    )
    command.add_argument(
        "--include", required=True, metavar="DIR[,DIR]", type=lambda text: text.split(","),
        help="folders with train.rec and train.idx; labels of the second follow those of the first",
    )
    command.add_argument("--output", required=True, metavar="OUT", help="folder to write to")
    command.add_argument(
        "--workers", type=positive, default=len(os.sched_getaffinity(0)), metavar="N",
        help="threads that read and write (%(default)s, the cores there are)",
    )
    command.set_defaults(run=_unpack)


def _unpack(args):
    from .unpack import unpack

    images, identities = unpack(args.include, args.output, args.workers, lambda numbers: progress(numbers, "images"))
    log.info("%s: %d images of %d identities", args.output, images, identities)
