"""The command `partial-fc eval megaface`."""

import argparse
import os
from typing import TYPE_CHECKING, Any, Dict, List

from ...errors import InputError
from ..options import add_fit
from ..run import add_command
from .arguments import add_keep, add_model, add_output
from .protocol import Protocol, run_protocol

if TYPE_CHECKING:
    from ...eval.features import ModelFeatures
    from ...eval.image_source import Images
    from ...eval.output import Result

_MEGAFACE = """\
MegaFace: identification at rank 1 of FaceScrub's people among up to a million distractors, and verification against
these, from aligned images or from the features of the development kit.

Lists are the kit's JSON files, such as facescrub_features_list.json and megaface_features_list.json_1000000_1. Images
in the noise lists, as InsightFace published them, are left out of both."""
_EXAMPLE = """\
partial-fc eval megaface --probe-list facescrub_features_list.json \\
    --distractor-list megaface_features_list.json_1000000_1 --probe-features feature_out/facescrub \\
    --distractor-features feature_out/megaface --ending _r100.bin"""


def add(commands: Any) -> None:
    """Add the command to the sub-parsers."""
    command = add_command(
        commands,
        "megaface",
        _megaface,
        help="identification and verification among a million distractors",
        description=_MEGAFACE,
        example=_EXAMPLE,
    )
    for kind, whose in (("probe", "FaceScrub's"), ("distractor", "MegaFace's")):
        _add_kind(command, kind, whose)
    command.add_argument(
        "--ending",
        metavar="TEXT",
        help="ending of the names of files of features after that of the image, such as _r100.bin (default: none)",
    )
    command.add_argument(
        "--write-features",
        metavar="DIR",
        help="write the features of the images, and the lists without noise, for the kit: DIR/facescrub, DIR/megaface "
        "and DIR/templatelists (default: not written)",
    )
    add_fit(command)
    add_model(command, instead="--probe-features")
    add_keep(command)
    add_output(command)


def _add_kind(command: argparse.ArgumentParser, kind: str, whose: str) -> None:
    group = command.add_argument_group(f"{kind}s", f"{whose} images.")
    group.add_argument(f"--{kind}-list", metavar="FILE", required=True, help='JSON of the kit: "path", "id"')
    group.add_argument(
        f"--{kind}-noises", metavar="FILE", help="names of images to leave out, one per line (default: none)"
    )
    group.add_argument(
        f"--{kind}-images",
        metavar="DIR",
        help=f"aligned images; paths in the list are relative to DIR (default: none, see --{kind}-features)",
    )
    group.add_argument(
        f"--{kind}-features",
        metavar="DIR",
        help="files of features of the kit, DIR/PATH with --ending, instead of images or beside them (default: none)",
    )


def _megaface(args: argparse.Namespace) -> int:
    return run_protocol(args, _prepare)


def _prepare(args: argparse.Namespace, rank: int) -> Protocol:
    from ...distributed.lock import LOCK, Lock
    from ...eval.features import ModelFeatures
    from ...eval.image_source import FileImages
    from ...eval.protocols.megaface import megaface_result
    from ...eval.protocols.megaface_files import FeatureFolder, open_template_list, write_for_kit

    _check(args)
    lists = probes, distractors = (
        open_template_list(args.probe_list, args.probe_noises),
        open_template_list(args.distractor_list, args.distractor_noises),
    )
    sources: Dict[str, Images] = {}
    if args.model:
        sources["facescrub"] = FileImages(args.probe_images, probes.paths, args.size)
        sources["megaface"] = FileImages(args.distractor_images, distractors.paths, args.size)
    saved = []
    if args.probe_features:
        folders = args.probe_features, args.distractor_features
        matrices = [FeatureFolder(folder, each.paths, args.ending) for folder, each in zip(folders, lists)]
        saved.append(ModelFeatures(args.ending, [*matrices], {}))
    computed: List[ModelFeatures] = []

    def measure(each: "ModelFeatures", is_saved: bool) -> "Result":
        if not is_saved:
            computed.append(each)
        of_probes, of_distractors = each.features
        return megaface_result(of_probes, probes.identities, of_distractors, each.model, settings=each.settings)

    def write_features() -> None:
        with Lock(os.path.join(args.write_features, LOCK)):
            write_for_kit(args.write_features, lists, computed[0].features, args.ending)

    return Protocol(measure, sources, saved, True, write_more=write_features if args.write_features else None)


def _check(args: argparse.Namespace) -> None:
    for kind in ("images", "features"):
        if bool(getattr(args, f"probe_{kind}")) != bool(getattr(args, f"distractor_{kind}")):
            raise InputError(f"--probe-{kind} and --distractor-{kind} belong together")
    if not args.model and not args.probe_features:
        raise InputError("--model with images, or features, or both are needed")
    if bool(args.model) != bool(args.probe_images):
        raise InputError("--model belongs to --probe-images and --distractor-images")
    if (args.probe_features or args.write_features) and not args.ending:
        raise InputError("files of features need --ending")
    if args.write_features and len(args.model) != 1:
        raise InputError("--write-features is for one --model")
