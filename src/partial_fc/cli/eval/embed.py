"""The command `partial-fc eval embed`."""

import argparse

from ..data.arguments import SOURCE, positive
from .arguments import add_model

_EMBED = """\
Write OUT.npy, a row of float32 features for each image, as the network gives them (not normalized); OUT.txt, a line
for each row: the image's path, or number and label of its record; and OUT.json, which model and images they are of.

Under horovodrun or mpirun all ranks share the work. A run that was broken off goes on when it is started again; where
the same model has embedded the same images before, nothing is computed."""


def add(commands):
    """Add the command to the sub-parsers."""
    command = commands.add_parser(
        "embed",
        help="features of images, .npy",
        description=_EMBED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("out", metavar="OUT.npy", help="file to write")
    command.add_argument("--images", metavar="FOLDER", help="all images in it and its sub-folders, in natural order")
    command.add_argument(
        "--list",
        metavar="FILE",
        help="a path in each line, of an image in --images; without --images, from the current folder or anywhere else",
    )
    command.add_argument("--rec", metavar="DIR", help=SOURCE)
    command.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="cut the middle square of every image and resize it to N x N pixels; without it, all images have to have "
        "the size of the first",
    )
    command.add_argument("--flip", action="store_true", help="add the embedding of the mirror image")
    command.add_argument(
        "--on-bad-image",
        choices=("error", "skip"),
        default="error",
        help="what to do at an image that cannot be read or is of another size; one that is skipped has no row, and is "
        "listed with the reason in OUT.skipped.txt (%(default)s)",
    )
    command.add_argument("--overwrite", action="store_true", help="compute all anew, and replace files that are there")
    add_model(command, several=False)
    command.set_defaults(run=_embed)


def _embed(args):
    # imports MXNet: --help need not wait for it
    from ...device import choose_device
    from ...eval.embed import check_name, embed
    from ...eval.embedding import open_embedder
    from ...eval.on_all_ranks import on_all_ranks
    from .paths import check_paths

    def work(comm):
        with comm.raise_on_all_ranks():
            check_paths(args)
            check_name(args.out)
            source = _source(args)
            embedder = open_embedder(args.model, args, choose_device(args.device, comm))
        embed(source, embedder, args.out, comm, args.flip, args.overwrite, args.on_bad_image == "skip")

    return on_all_ranks(work)


def _source(args):
    from ...errors import InputError
    from ...eval.image_source import FileImages, RecordImages, images_below, listed_images

    if bool(args.rec) == bool(args.images or args.list):
        raise InputError("give --images FOLDER, or --list FILE, or both, or else --rec DIR")
    if args.rec:
        return RecordImages(args.rec, args.size)
    paths = listed_images(args.list, args.images) if args.list else images_below(args.images)
    return FileImages(args.images, paths, args.size, args.on_bad_image == "skip")
