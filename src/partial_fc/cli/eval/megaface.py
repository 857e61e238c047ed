"""The command `partial-fc eval megaface`."""

import argparse
import os

from ..data.arguments import positive
from .arguments import add_keep, add_model, add_output

_MEGAFACE = """\
MegaFace: identification at rank 1 of FaceScrub's people among up to a million distractors, and verification against
these, from aligned images or from the features of the development kit. Lists are the kit's JSON files, such as
facescrub_features_list.json and megaface_features_list.json_1000000_1; images of the noise lists, as InsightFace
published them, are taken out of both."""


def add(commands):
    """Add the command to the sub-parsers."""
    command = commands.add_parser(
        "megaface",
        help="identification and verification among a million distractors",
        description=_MEGAFACE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for kind, whose in (("probe", "FaceScrub's"), ("distractor", "MegaFace's")):
        group = command.add_argument_group(f"{kind}s", f"{whose} images.")
        group.add_argument(f"--{kind}-list", metavar="FILE", required=True, help='the kit\'s JSON: "path", "id"')
        group.add_argument(f"--{kind}-noises", metavar="FILE", help="names of images to leave out, one a line")
        group.add_argument(f"--{kind}-images", metavar="DIR", help="aligned images, where the list's paths start")
        group.add_argument(
            f"--{kind}-features", metavar="DIR", help="or the kit's files of features, DIR/PATH with --ending"
        )
    command.add_argument(
        "--ending", metavar="TEXT", help="what the names of files of features add to the image's, such as _r100.bin"
    )
    command.add_argument(
        "--write-features",
        metavar="DIR",
        help="write the features of the images, and the lists without noise, for the kit: DIR/facescrub, DIR/megaface "
        "and DIR/templatelists",
    )
    command.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="cut the middle square of every image and resize it to N x N pixels; without it, all images have to have "
        "the size of the first",
    )
    add_model(command, required=False)
    add_keep(command)
    add_output(command)
    command.set_defaults(run=_megaface)


def _megaface(args):
    # imports MXNet: --help need not wait for it
    from ...distributed.lock import LOCK, Lock
    from ...eval.image_source import FileImages
    from ...eval.on_all_ranks import on_all_ranks
    from ...eval.protocols.megaface import megaface_result
    from ...eval.protocols.megaface_files import FeatureFolder, write_for_kit
    from ...eval.protocols.protocol_features import Computed, embedded
    from .paths import check_paths
    from .results import write_results

    def work(comm):
        saved, sources = [], {}
        with comm.raise_on_all_ranks():
            _check(args)
            check_paths(args)
            lists = probes, distractors = _lists(args)
            if args.model:
                sources["facescrub"] = FileImages(args.probe_images, probes.paths, args.size)
                sources["megaface"] = FileImages(args.distractor_images, distractors.paths, args.size)
            if args.probe_features:
                folders = args.probe_features, args.distractor_features
                matrices = [FeatureFolder(folder, each.paths, args.ending) for folder, each in zip(folders, lists)]
                saved.append(Computed(args.ending, matrices, {}))
        with embedded(args, sources, comm, flip=True) as computed:
            if comm.rank:
                return
            results = [
                megaface_result(of_probes, probes.identities, of_distractors, name, settings=settings)
                for name, (of_probes, of_distractors), settings in saved + computed
            ]
            if args.write_features:
                with Lock(os.path.join(args.write_features, LOCK)):
                    write_for_kit(args.write_features, lists, computed[0].features, args.ending)
            write_results(results, args)

    return on_all_ranks(work)


def _check(args):
    from ...errors import InputError

    for kind in ("images", "features"):
        if bool(getattr(args, f"probe_{kind}")) != bool(getattr(args, f"distractor_{kind}")):
            raise InputError(f"--probe-{kind} and --distractor-{kind} belong together")
    if not args.model and not args.probe_features:
        raise InputError("give --model with images, or features, or both")
    if bool(args.model) != bool(args.probe_images):
        raise InputError("--model belongs to --probe-images and --distractor-images")
    if (args.probe_features or args.write_features) and not args.ending:
        raise InputError("files of features need --ending")
    if args.write_features and len(args.model) != 1:
        raise InputError("--write-features is for one --model")


def _lists(args):
    """TemplateLists of probes and distractors, without noise."""
    from ...eval.protocols.megaface_files import open_template_list

    return (
        open_template_list(args.probe_list, args.probe_noises),
        open_template_list(args.distractor_list, args.distractor_noises),
    )
