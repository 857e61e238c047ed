"""The command `partial-fc data pack`."""

import argparse
import logging
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..options import add_overwrite, add_seed, add_workers, shown
from ..parser import positive
from ..run import add_command

if TYPE_CHECKING:
    from ...data.tools.pack import Packed

log = logging.getLogger("partial_fc")

_LISTED = 20

_PACK = """\
Write train.rec, train.idx and property in InsightFace's format, and identities.txt, the folder name of each label.

JPEGs of N x N pixels (--size) are stored byte for byte. From other images the largest square in the middle is cut,
resized and stored as JPEG of quality 95: align faces before, or use --landmarks. Images that cannot be read are listed
at the end and in skipped.txt.

An interrupted run continues when it is started again with the same arguments and without --overwrite. Images that were
changed in between are not noticed."""


def add(commands: Any) -> None:
    """Add the command to the sub-parsers."""
    command = add_command(
        commands,
        "pack",
        _pack,
        help="folders of images to record files",
        description=_PACK,
        example="partial-fc data pack photos data/all --min-images 2",
    )
    command.add_argument("folder", metavar="FOLDER", help="folder with one folder of images per identity")
    command.add_argument("out", metavar="OUT", help="folder of the new data set")
    command.add_argument(
        "--size", type=positive, default=112, metavar="N", help="height and width of the images, in pixels"
    )
    command.add_argument(
        "--min-images",
        type=positive,
        default=1,
        metavar="N",
        help="leave out identities with fewer than N images that can be read",
    )
    command.add_argument(
        "--landmarks",
        metavar="FILE",
        help="align every face by its five points (default: no alignment). A line of FILE is the path of an image in "
        "FOLDER and x1 y1 ... x5 y5 in its pixels: left eye, right eye, nose, left and right corner of the mouth, as "
        "seen in the image, separated by tabs, commas or spaces. Images without a line are skipped",
    )
    _add_pairs(command)
    add_overwrite(command, "files in OUT")
    add_workers(command, "read and decode images")


def _add_pairs(command: argparse.ArgumentParser) -> None:
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--pairs",
        metavar="FILE",
        help="write these pairs as verification set NAME.bin (default: no set): in LFW's format, for images "
        "NAME/NAME_0001.*, or lines PATH1 PATH2 LABEL",
    )
    source.add_argument(
        "--random-pairs",
        type=positive,
        default=0,
        metavar="N",
        help="draw N pairs of the same and N of different identities for NAME.bin (default: no pairs). These are pairs "
        "of the packed images: do not verify a model with them that was trained on these images",
    )
    command.add_argument(
        "--name", help="name of the verification set (default: that of the file of pairs, or of FOLDER)"
    )
    add_seed(command, "the random pairs")


def _pack(args: argparse.Namespace) -> None:
    from ...data.tools.pack import pack  # imports OpenCV: --help need not wait for it

    packed = pack(
        args.folder,
        args.out,
        args.size,
        args.pairs,
        args.random_pairs,
        args.name,
        args.seed,
        args.overwrite,
        args.min_images,
        args.landmarks,
        args.workers,
        shown("identities"),
    )
    _log_skipped(packed, args.folder)
    files = len(packed.skipped) - packed.num_left_out
    skipped = f"; skipped files: {files}, identities: {packed.num_left_out}, see skipped.txt" if packed.skipped else ""
    log.info("%s: %d images of %d identities%s", args.out, packed.num_images, len(packed.identities), skipped)


def _log_skipped(packed: "Packed", folder: str) -> None:
    from ...data.images.folder import NESTED

    skipped = [each for each in packed.skipped if each[1] != NESTED]
    for path, reason in skipped[:_LISTED]:
        log.warning("skipped %s: %s", path, reason)
    if len(skipped) > _LISTED:
        log.warning("... and %d more", len(skipped) - _LISTED)
    nested = Counter(os.path.dirname(path) for path, reason in packed.skipped if reason == NESTED)
    for name, count in nested.most_common(_LISTED):
        log.warning(
            "%s: skipped %d images in this nested folder; move them to the folder of their identity",
            os.path.join(folder, name),
            count,
        )
    if nested:
        log.warning("skipped %d images in %d nested folders", sum(nested.values()), len(nested))
