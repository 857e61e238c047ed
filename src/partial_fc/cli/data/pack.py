"""The command `partial-fc data pack`."""

import argparse
import logging
import os
from collections import Counter

from ...data.progress import progress
from .arguments import add_workers, positive

log = logging.getLogger("partial_fc")

_LISTED = 20

_PACK = """\
Write train.rec, train.idx and property in InsightFace's form, and identities.txt, the folder name of each label.

Images that are JPEGs of SIZE x SIZE pixels are stored byte for byte. From others the largest square in the middle is
cut, resized and stored as JPEG of quality 95: align faces before, or let --landmarks do it. Images that cannot be read
are listed at the end and in skipped.txt.

A run that was broken off goes on where it stopped when it is started again with the same arguments, without
--overwrite. Images changed in between are not noticed."""


def add(commands):
    """Add the command to the sub-parsers."""
    command = commands.add_parser(
        "pack",
        help="folders of images to record files",
        description=_PACK,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", metavar="FOLDER", help="has one sub-folder of images for each identity")
    command.add_argument("out", metavar="OUT", help="folder of the files to write")
    command.add_argument("--size", type=int, default=112, help="height and width in pixels (%(default)s)")
    command.add_argument(
        "--min-images",
        type=positive,
        default=1,
        metavar="N",
        help="leave out identities of which fewer images can be read (%(default)s)",
    )
    command.add_argument(
        "--landmarks",
        metavar="FILE",
        help="align every face by its five points. A line of FILE has the path of an image in FOLDER and x1 y1 ... x5 "
        "y5 in its pixels: left eye, right eye, nose, left and right corner of the mouth as seen in the image; tabs, "
        "commas or spaces separate. Images without a line are skipped",
    )
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--pairs",
        metavar="FILE",
        help="pairs to write as verification set NAME.bin: LFW's form (images NAME/NAME_0001.*) or PATH1 PATH2 LABEL",
    )
    source.add_argument(
        "--random-pairs",
        type=positive,
        default=0,
        metavar="N",
        help="draw N pairs of the same and N of different identities for NAME.bin. They are of the images packed: to "
        "verify a model trained on these is no test of it; pack identities held out from training for that",
    )
    command.add_argument("--name", help="NAME (that of the file of pairs, or of FOLDER)")
    command.add_argument("--seed", type=int, default=0, help="of the random pairs (%(default)s)")
    command.add_argument("--overwrite", action="store_true", help="start anew and replace files of earlier runs")
    add_workers(command, "read and decode images, on which the files do not depend")
    command.set_defaults(run=_pack)


def _pack(args):
    from ...data.images.folder import NESTED
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
        lambda people: progress(people, "identities"),
    )
    skipped = [each for each in packed.skipped if each[1] != NESTED]
    for path, reason in skipped[:_LISTED]:
        log.warning("skipped %s: %s", path, reason)
    if len(skipped) > _LISTED:
        log.warning("... and %d more", len(skipped) - _LISTED)
    nested = Counter(os.path.dirname(path) for path, reason in packed.skipped if reason == NESTED)
    for folder, count in nested.most_common(_LISTED):
        log.warning(
            "%s: images in this nested folder that were not taken: %d; move them to the folder of their identity",
            os.path.join(args.folder, folder),
            count,
        )
    if nested:
        log.warning("%d images in %d nested folders were not taken", sum(nested.values()), len(nested))
    files = len(packed.skipped) - packed.num_left_out
    skipped = f"; skipped files: {files}, identities: {packed.num_left_out}, see skipped.txt" if packed.skipped else ""
    log.info("%s: %d images of %d identities%s", args.out, packed.num_images, len(packed.identities), skipped)
