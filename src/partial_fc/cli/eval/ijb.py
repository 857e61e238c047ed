"""The command `partial-fc eval ijb`."""

import argparse

from ..data.arguments import positive
from .arguments import add_keep, add_model, add_output

_IJB = """\
1:1 verification of templates of IJB-B or IJB-C, as InsightFace's scripts do it: the sum of the embeddings of an image
and of its mirror image is weighted by the detector's score, averaged over the frames of a medium, added over the media
of a template, and normalized.

FOLDER is that of InsightFace's package: meta/ has ijbc_face_tid_mid.txt, ijbc_template_pair_label.txt and
ijbc_name_5pts_score.txt (or ijbb_...), loose_crop/ the images that these name. With --features, no image is read."""


def add(commands):
    """Add the command to the sub-parsers."""
    command = commands.add_parser(
        "ijb",
        help="verification of templates: IJB-B, IJB-C",
        description=_IJB,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", metavar="FOLDER", help="has meta/ and loose_crop/")
    command.add_argument("--dataset", choices=("IJBB", "IJBC"), required=True)
    command.add_argument(
        "--size", type=positive, default=112, metavar="N", help="pixels that faces are aligned to (%(default)s)"
    )
    command.add_argument(
        "--features",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help=".npy with a row for each image, in the order of the lists, not normalized; instead of --model, or beside",
    )
    command.add_argument(
        "--halves",
        action="store_true",
        help="the first half of a row of --features is of the image, the second of its mirror image: add them. Without "
        "it, such rows are compared as they are",
    )
    command.add_argument(
        "--embeddings",
        choices=("unit", "raw"),
        default="unit",
        help="what is added of an image and its mirror image: `unit`, both divided by their norms, as the script of "
        "Partial FC that the published results belong to; `raw`, as they are, as arcface_torch (%(default)s). It does "
        "not change --features without --halves",
    )
    add_model(command, required=False)
    add_keep(command)
    add_output(command)
    command.set_defaults(run=_ijb)


def _ijb(args):
    # imports MXNet: --help need not wait for it
    from ...errors import InputError
    from ...eval.features import read_features
    from ...eval.on_all_ranks import on_all_ranks
    from ...eval.protocols.ijb import compare_templates, ijb_result, pool_templates
    from ...eval.protocols.ijb_lists import AlignedFaces, read_faces, read_pairs
    from ...eval.protocols.protocol_features import embedded
    from .paths import check_paths
    from .results import write_results

    def work(comm):
        with comm.raise_on_all_ranks():
            if not args.model and not args.features:
                raise InputError("give --model, or --features, or both")
            check_paths(args)
            faces = read_faces(args.folder, args.dataset)
            pairs = read_pairs(args.folder, args.dataset, faces.template_ids) if comm.rank == 0 else None
            saved = [(path, read_features(path, len(faces.names))) for path in args.features]
        sources, unit = {args.dataset: AlignedFaces(faces, args.folder, args.size)}, args.embeddings == "unit"
        with embedded(args, sources, comm, flip=True, unit=unit) as computed:
            if comm.rank:
                return
            how = args.embeddings if args.halves else "as saved"
            found = [
                (each.model, each.features[0], False, {**each.settings, "embeddings": args.embeddings})
                for each in computed
            ] + [(path, features, args.halves, {"embeddings": how}) for path, features in saved]
            results = []
            for model, features, halves, settings in found:
                cosines = compare_templates(pool_templates(features, faces, halves, unit), pairs)
                results.append(ijb_result(cosines, pairs, args.dataset, model, settings))
            write_results(results, args)

    return on_all_ranks(work)
