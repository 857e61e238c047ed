"""The command `partial-fc eval ifrt`."""

import argparse
import os

from ..data.arguments import positive
from .arguments import add_keep, add_model, add_output

_IFRT = """\
InsightFace's IFRT: true accept rates at false accept rates of 1e-6, 1e-5 and 1e-4 over all pairs of images of a group,
for African, Caucasian, Indian and Asian, and over all pairs of all images. Pairs are counted exactly, by cosines in
steps of 2^-16.

Images are GROUP/IDENTITY/IMAGE, in --images or as lines of --list; features of --features are of the images in --list,
row by row, by default in the list that `embed` wrote beside the file."""


def add(commands):
    """Add the command to the sub-parsers."""
    command = commands.add_parser(
        "ifrt",
        help="all pairs of each of four groups of people, and of all",
        description=_IFRT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--images", metavar="FOLDER", help="has GROUP/IDENTITY/IMAGE")
    command.add_argument(
        "--list",
        metavar="FILE",
        help="a path in each line, of an image in --images; without --images, from the current folder or anywhere else",
    )
    command.add_argument(
        "--features",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help=".npy with a row for each image; instead of --model, or beside",
    )
    command.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="cut the middle square of every image and resize it to N x N pixels; without it, all images have to have "
        "the size of the first",
    )
    command.add_argument(
        "--flip", action="store_true", help="add the embedding of the mirror image; published results are without"
    )
    add_model(command, required=False)
    add_keep(command)
    add_output(command)
    command.set_defaults(run=_ifrt)


def _ifrt(args):
    # imports MXNet: --help need not wait for it
    from ...eval.image_source import FileImages, images_below, listed_images
    from ...eval.on_all_ranks import on_all_ranks
    from ...eval.protocols.ifrt import count_pairs, ifrt_result, image_groups
    from ...eval.protocols.protocol_features import embedded
    from ...eval.protocols.unit_features import UnitFeatures
    from .paths import check_paths
    from .results import write_results

    def work(comm):
        with comm.raise_on_all_ranks():
            _check(args)
            check_paths(args)
            saved = [(path, *_saved(path, args.list)) for path in args.features]
            sources = {}
            if args.model:
                paths = listed_images(args.list, args.images) if args.list else images_below(args.images)
                groups = image_groups(paths, args.list or args.images)
                sources["IFRT"] = FileImages(args.images, paths, args.size)
        with embedded(args, sources, comm, args.flip) as computed:
            if comm.rank:
                return
            found = [(*each, {}) for each in saved]
            found += [(each.model, each.features[0], groups, each.settings) for each in computed]
            results = []
            for name, features, images, settings in found:
                results.append(ifrt_result(count_pairs(UnitFeatures(features, name), images), name, settings))
            write_results(results, args)

    return on_all_ranks(work)


def _check(args):
    from ...errors import InputError

    if not args.model and not args.features:
        raise InputError("give --model, or --features, or both")
    if args.model and not (args.images or args.list):
        raise InputError("--model needs --images FOLDER, or --list FILE, or both")


def _saved(path, listed):
    """Features of a file and the ImageGroups of its rows."""
    from ...errors import InputError
    from ...eval.embed import text_path
    from ...eval.features import read_features
    from ...eval.image_source import listed_images
    from ...eval.protocols.ifrt import image_groups

    if not listed:
        listed = text_path(path)
        if not os.path.exists(listed):
            raise InputError(f"--features {path}: there is no list of its images beside it, {listed}: give --list FILE")
    paths = listed_images(listed)
    return read_features(path, len(paths)), image_groups(paths, listed)
