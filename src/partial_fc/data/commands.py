"""The commands `partial-fc data ...`, the same as `python -m partial_fc.data ...`."""

import argparse
import logging
import sys
import time

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..errors import InputError

log = logging.getLogger("partial_fc")

_SECONDS_BETWEEN_LINES = 10
_LISTED = 20

_PACK = """\
Write train.rec, train.idx and property in InsightFace's form, and identities.txt, the folder name of each label.

Images that are JPEGs of SIZE x SIZE pixels are stored byte for byte. From others the largest square in the middle is
cut, resized and stored as JPEG of quality 95: align faces before. Images that cannot be read are listed at the end
and in skipped.txt."""


def parser():
    """Parser of the commands, for `parents` of another, too."""
    result = argparse.ArgumentParser(prog="partial-fc data", description="Make and take apart data sets.")
    commands = result.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    _add_pack(commands)
    _add_unpack(commands)
    return result


def main(argv=None):
    """Run a command; returns the exit status."""
    args = parser().parse_args(argv)
    if not log.handlers:
        log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    try:
        {"pack": _pack, "unpack": _unpack}[args.data_command](args)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _add_pack(commands):
    command = commands.add_parser(
        "pack", help="folders of images to record files", description=_PACK,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", metavar="FOLDER", help="has one sub-folder of images for each identity")
    command.add_argument("out", metavar="OUT", help="folder of the files to write")
    command.add_argument("--size", type=int, default=112, help="height and width in pixels (%(default)s)")
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--pairs", metavar="FILE",
        help="pairs in the form of LFW's pairs.txt, to write as verification set NAME.bin; images NAME/NAME_0001.*",
    )
    source.add_argument(
        "--random-pairs", type=_positive, default=0, metavar="N",
        help="draw N pairs of the same and N of different identities for NAME.bin. They are of the images packed: to "
        "verify a model trained on these is no test of it; pack identities held out from training for that",
    )
    command.add_argument("--name", help="NAME (that of the file of pairs, or of FOLDER)")
    command.add_argument("--seed", type=int, default=0, help="of the random pairs (%(default)s)")
    command.add_argument("--overwrite", action="store_true", help="replace files of an earlier run")


def _add_unpack(commands):
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


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _pack(args):
    from .pack import pack  # imports MXNet: --help need not wait for it

    with logging_redirect_tqdm([log]):
        packed = pack(
            args.folder, args.out, args.size, args.pairs, args.random_pairs, args.name, args.seed, args.overwrite,
            lambda people: _progress(people, "identities"),
        )
    for path, reason in packed.skipped[:_LISTED]:
        log.warning("skipped %s: %s", path, reason)
    if len(packed.skipped) > _LISTED:
        log.warning("... and %d more", len(packed.skipped) - _LISTED)
    log.info(
        "%s: %d images of %d identities%s", args.out, packed.num_images, len(packed.identities),
        f"; skipped {len(packed.skipped)}, see skipped.txt" if packed.skipped else "",
    )


def _unpack(args):
    from .unpack import unpack

    images, identities = unpack(args.include, args.output, lambda keys: _progress(keys, "images"))
    log.info("%s: %d images of %d identities", args.output, images, identities)


def _progress(things, unit):
    """The things one by one, with a bar on a terminal and a line now and then elsewhere."""
    told = time.monotonic()
    with tqdm(things, unit=f" {unit}", disable=None, leave=False) as bar:
        for number, thing in enumerate(bar):
            if bar.disable and time.monotonic() - told >= _SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                log.info("%d of %d %s", number, len(things), unit)
            yield thing
