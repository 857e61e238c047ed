"""The command `partial-fc eval embed`."""

import argparse
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ..options import RECORDS, add_fit, add_overwrite
from ..run import add_command
from .arguments import add_images, add_model, model_options
from .paths import check_paths
from .protocol import choose_computation, on_all_ranks

if TYPE_CHECKING:
    from ...distributed.communicator import Communicator
    from ...eval.image_source import Images

_EMBED = """\
Write OUT.npy, a row of float32 features per image, as the network computes them (not normalized); OUT.txt, a line per
row: the path of the image, or number and label of its record; and OUT.json, the model and the images.

Under horovodrun or mpirun all ranks share the work. An interrupted run continues when it is started again. Features
that exist already, of the same model and images, are not computed again."""


def add(commands: Any) -> None:
    """Add the command to the sub-parsers."""
    command = add_command(
        commands,
        "embed",
        _embed,
        help="features of images, .npy",
        description=_EMBED,
        example="partial-fc eval embed features.npy --images FOLDER --model PREFIX",
    )
    command.add_argument("out", metavar="OUT.npy", help="file to write")
    add_images(command, "folder of images, in it and its sub-folders, in natural order")
    command.add_argument("--rec", metavar="SOURCE", help=f"{RECORDS} (default: none, see --images)")
    add_fit(command)
    command.add_argument("--flip", action="store_true", help="add the embedding of the mirror image")
    command.add_argument(
        "--on-bad-image",
        choices=("error", "skip"),
        default="error",
        help="end with an error at an image that cannot be read or has another size, or skip it: it has no row, and "
        "OUT.skipped.txt lists it with the reason",
    )
    add_overwrite(command, "files")
    add_model(command, several=False)


def _embed(args: argparse.Namespace) -> int:
    from ...eval.embed import check_name, embed  # these import MXNet: --help need not wait for it
    from ...eval.embedding import open_embedder

    def work(comm: "Communicator") -> None:
        ctx, precision = choose_computation(args, comm)
        with comm.raise_on_all_ranks():
            options = model_options(args, comm)._replace(precision=precision)
            check_paths(args)
            check_name(args.out)
            source = _source(args)
            embedder = open_embedder(args.model, ctx, options)
        embed(source, embedder, args.out, comm, args.flip, args.overwrite, args.on_bad_image)

    return on_all_ranks(work)


def _source(args: argparse.Namespace) -> "Images":
    from ...eval.image_source import FileImages, RecordImages, images_below, listed_images

    if bool(args.rec) == bool(args.images or args.list):
        raise InputError("--images DIR, or --list FILE, or both, or else --rec SOURCE are needed")
    if args.rec:
        return RecordImages(args.rec, args.size)
    paths = listed_images(args.list, args.images) if args.list else images_below(args.images)
    return FileImages(args.images, paths, args.size, args.on_bad_image == "skip")
