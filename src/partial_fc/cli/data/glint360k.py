"""The command `partial-fc data glint360k`."""

import logging
import os

from ...data.progress import byte_progress

log = logging.getLogger("partial_fc")


def add(commands):
    """Add the command to the sub-parsers."""
    command = commands.add_parser(
        "glint360k",
        help="unpack and check the download of Glint360K",
        description="Tell which release of Glint360K the files in DIR are, by the md5 sums that its pages publish. "
        "Where there is no train.rec yet, it is unpacked from the archive's parts glint360k*. Start a run that was "
        "broken off again.",
    )
    command.add_argument("folder", metavar="DIR", help="has train.rec and train.idx, or the parts glint360k*")
    command.set_defaults(run=_run)


def _run(args):
    from ...data.tools.glint360k import prepare

    folder, release = prepare(args.folder, byte_progress)
    log.info("%s: Glint360K, %s: 17091657 images of 360232 identities", folder, release.name)
    log.info("train on it: --dataset glint360k_8GPU --rec %s", os.path.join(folder, "train.rec"))
