"""The command `partial-fc data glint360k`."""

import argparse
import logging
import os
from typing import Any

from ...data.progress import byte_progress
from ..run import add_command

log = logging.getLogger("partial_fc")

_GLINT360K = """\
Unpack the download of Glint360K, and say which release it is, by the md5 sums that its pages publish. If DIR has no
train.rec yet, it is unpacked from the archive's parts glint360k*. After an interruption, start
the command again: it removes what an interrupted run has left, and unpacks from the beginning."""


def add(commands: Any) -> None:
    """Add the command to the sub-parsers."""
    command = add_command(
        commands,
        "glint360k",
        _run,
        help="unpack and check the download of Glint360K",
        description=_GLINT360K,
        example="partial-fc data glint360k downloads/glint360k",
    )
    command.add_argument("folder", metavar="DIR", help="folder with train.rec and train.idx, or with the parts")


def _run(args: argparse.Namespace) -> None:
    from ...data.tools.glint360k import prepare

    folder, release = prepare(args.folder, byte_progress)
    log.info("%s: Glint360K, %s: 17091657 images of 360232 identities", folder, release.name)
    log.info("train on it: --dataset glint360k_8GPU --rec %s", os.path.join(folder, "train.rec"))
