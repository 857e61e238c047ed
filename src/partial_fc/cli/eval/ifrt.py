"""The command `partial-fc eval ifrt`."""

import argparse
import os
from typing import TYPE_CHECKING, Any, Dict, Tuple

from ...errors import InputError
from ..options import add_fit
from ..run import add_command
from .arguments import add_features, add_images, add_keep, add_model, add_output
from .protocol import Protocol, check_model_or_features, run_protocol

if TYPE_CHECKING:
    from ...eval.features import ModelFeatures
    from ...eval.image_source import Images
    from ...eval.output import Result
    from ...eval.protocols.ifrt import ImageGroups

_IFRT = """\
InsightFace's IFRT: true accept rates at false accept rates of 1e-6, 1e-5 and 1e-4 over all pairs of images of a group,
for African, Caucasian, Indian and Asian, and over all pairs of all images. Pairs are counted exactly, by cosines in
steps of 2^-16.

Images are GROUP/IDENTITY/IMAGE, in --images or as lines of --list. The rows of --features belong to the images of
--list, by default the list that `embed` wrote beside the file."""


def add(commands: Any) -> None:
    """Add the command to the sub-parsers."""
    command = add_command(
        commands,
        "ifrt",
        _ifrt,
        help="all pairs of images of four groups of people, and of all",
        description=_IFRT,
        example="partial-fc eval ifrt --images FOLDER --model PREFIX --keep features",
    )
    add_images(command, "folder of GROUP/IDENTITY/IMAGE")
    add_features(command, "a row per image")
    add_fit(command)
    command.add_argument(
        "--flip", action="store_true", help="add the embedding of the mirror image; published results do not"
    )
    add_model(command, instead="--features")
    add_keep(command)
    add_output(command)


def _ifrt(args: argparse.Namespace) -> int:
    return run_protocol(args, _prepare)


def _prepare(args: argparse.Namespace, rank: int) -> Protocol:
    from ...eval.image_source import FileImages, images_below, listed_images
    from ...eval.protocols.ifrt import count_pairs, ifrt_result, image_groups
    from ...eval.protocols.unit_features import UnitFeatures

    check_model_or_features(args)
    if args.model and not (args.images or args.list):
        raise InputError("--model needs --images DIR, or --list FILE, or both")
    saved, groups = [], {}
    for path in args.features:
        each, groups[path] = _saved(path, args.list)
        saved.append(each)
    sources: Dict[str, Images] = {}
    if args.model:
        paths = listed_images(args.list, args.images) if args.list else images_below(args.images)
        computed_groups = image_groups(paths, args.list or args.images)
        sources["IFRT"] = FileImages(args.images, paths, args.size)

    def measure(each: "ModelFeatures", is_saved: bool) -> "Result":
        images = groups[each.model] if is_saved else computed_groups
        counts = count_pairs(UnitFeatures(each.features[0], each.model), images)
        return ifrt_result(counts, each.model, each.settings)

    return Protocol(measure, sources, saved, args.flip)


def _saved(path: str, listed: str) -> "Tuple[ModelFeatures, ImageGroups]":
    """Features of a file and the ImageGroups of its rows."""
    from ...eval.embed import text_path
    from ...eval.features import ModelFeatures, read_features
    from ...eval.image_source import listed_images
    from ...eval.protocols.ifrt import image_groups

    if not listed:
        listed = text_path(path)
        if not os.path.exists(listed):
            raise InputError(f"--features {path}: the list of its images, {listed}, is missing: name one with --list")
    paths = listed_images(listed)
    return ModelFeatures(path, [read_features(path, len(paths))], {}), image_groups(paths, listed)
