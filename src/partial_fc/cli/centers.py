"""The commands `partial-fc centers ...`."""

import argparse
import logging
import os
from typing import Any, Optional, Sequence

from ..errors import InputError
from ..files import has_ending
from ..output.closed_pipe import quiet_pipe
from .conflicts import add_conflicts
from .options import add_seed, shown
from .parser import Parser, positive
from .run import add_command, run

log = logging.getLogger("partial_fc")

_CENTERS = "folder with centers-*.safetensors: a checkpoint, or the OUT of a command of `centers`"
_OUT = "folder for the new centers; it must not contain centers yet"
_MAP = """\
Make centers for another set of identities: identities in both sets keep their center and the optimizer's state of
it, new ones get initial values."""

_DOMINANT = """\
Keep, of the K sub-centers of each class, the one that is closest to most of its images. OUT/far-images.txt lists the
images farther than 75 degrees from it: number of the record, label, angle."""


def parser() -> Parser:
    """Parser of the commands."""
    result = Parser(
        prog="partial-fc centers",
        description="Convert class centers, and find those that are close to each other. `partial-fc train --centers "
        "OUT` starts from the centers that import, map and dominant write, and --pretrained from a backbone.",
        example="partial-fc centers export models/faces/checkpoints/update-000010000 OUT --numpy",
    )
    commands = result.add_subparsers(dest="centers_command", required=True, metavar="COMMAND")
    _add_import(commands)
    _add_export(commands)
    _add_map(commands)
    _add_dominant(commands)
    add_conflicts(commands, _CENTERS)
    return result


@quiet_pipe
def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run a command; returns the exit status."""
    return run(parser().parse_args(argv))


def _add_import(commands: Any) -> None:
    command = add_command(
        commands,
        "import",
        _import,
        help="from files of the published system, arcface_torch or NumPy",
        description="Convert centers from the files of the published system, of arcface_torch, or from NumPy's.",
        example="partial-fc centers import OLD data/centers --num-classes 85742",
    )
    command.add_argument(
        "source",
        metavar="SOURCE",
        help="folder with RANK_centers.param and RANK_centers_mom.param, or with softmax_fc_gpu_RANK.pt, .safetensors "
        "or .npy of arcface_torch (.pt needs PyTorch); or a file NAME.npy, with NAME_mom.npy beside it if there is "
        "momentum",
    )
    command.add_argument("out", metavar="OUT", help=_OUT)
    command.add_argument(
        "--num-classes",
        type=positive,
        metavar="N",
        help="true number of classes, needed for RANK_centers.param, whose last ranks have more rows than classes "
        "(default: the rows of the other files)",
    )


def _add_export(commands: Any) -> None:
    command = add_command(
        commands,
        "export",
        _export,
        help="to files of the published system, arcface_torch or NumPy",
        description="Convert centers to the files of the published system, of arcface_torch, or to NumPy's.",
        example="partial-fc centers export models/faces/checkpoints/update-000010000 OUT --ranks 8",
    )
    command.add_argument("source", metavar="SOURCE", help=_CENTERS)
    command.add_argument("out", metavar="OUT", help="folder of the new files")
    form = command.add_mutually_exclusive_group(required=True)
    form.add_argument(
        "--ranks",
        type=positive,
        metavar="N",
        help="write RANK_centers.param and RANK_centers_mom.param for N ranks (default: see --numpy)",
    )
    form.add_argument(
        "--numpy",
        action="store_true",
        help="write centers.npy and centers_mom.npy; for AdamW centers_mean.npy and centers_var.npy",
    )
    form.add_argument(
        "--arcface-torch",
        type=positive,
        metavar="N",
        help="write softmax_fc_gpu_RANK of arcface_torch for N ranks, see --form (default: see --numpy)",
    )
    command.add_argument(
        "--form",
        choices=("safetensors", "npy", "pt"),
        help="with --arcface-torch: ending of the files; pt needs PyTorch (default: safetensors)",
    )


def _add_map(commands: Any) -> None:
    command = add_command(
        commands,
        "map",
        _map,
        help="to another set of identities",
        description=_MAP,
        example="partial-fc centers map CHECKPOINT data/centers --names old/identities.txt new/identities.txt",
    )
    command.add_argument("source", metavar="SOURCE", help=_CENTERS)
    command.add_argument("out", metavar="OUT", help=_OUT)
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--labels",
        metavar="FILE",
        help="text file: on each line a new label and its old one; where several old labels have one new label, the "
        "center of the first is kept (default: see --names)",
    )
    which.add_argument(
        "--names",
        nargs=2,
        metavar=("OLD", "NEW"),
        help="identities.txt of both sets: identities of the same name keep their center (default: see --labels)",
    )
    command.add_argument(
        "--num-classes",
        type=positive,
        metavar="N",
        help="number of classes of the new set, needed with --labels (default: the lines of NEW)",
    )
    add_seed(command, "the initial values")


def _add_dominant(commands: Any) -> None:
    command = add_command(
        commands,
        "dominant",
        _dominant,
        help="keep one of several sub-centers",
        description=_DOMINANT,
        example="partial-fc centers dominant CHECKPOINT features.npy data/centers",
    )
    command.add_argument("source", metavar="SOURCE", help=_CENTERS)
    command.add_argument(
        "features",
        metavar="FEATURES",
        help="features of the training data by the same model: what `partial-fc eval embed FEATURES --rec DATA` writes",
    )
    command.add_argument("out", metavar="OUT", help=_OUT)


def _import(args: argparse.Namespace) -> None:
    from ..checkpoint.convert_centers import import_numpy, import_original
    from ..interchange.centers import has_arcface_torch, import_arcface_torch

    if has_ending(args.source, ".npy"):
        import_numpy(args.source, args.out, shown("blocks"), args.num_classes)
    elif has_arcface_torch(args.source):
        import_arcface_torch(args.source, args.out, shown("files"), args.num_classes)
    elif not os.path.isdir(args.source):
        raise InputError(f"{args.source}: neither a folder nor a file NAME.npy")
    elif args.num_classes is None:
        raise InputError("--num-classes N is needed: the files of the last ranks have more rows than classes")
    else:
        import_original(args.source, args.out, args.num_classes, shown("files"))
    _log_centers(args.out)


def _export(args: argparse.Namespace) -> None:
    from ..checkpoint.convert_centers import export_numpy, export_original
    from ..interchange.centers import export_arcface_torch

    if args.form and not args.arcface_torch:
        raise InputError(f"--form {args.form}: only with --arcface-torch")
    if args.numpy:
        export_numpy(args.source, args.out, shown("blocks"))
    elif args.arcface_torch:
        export_arcface_torch(args.source, args.out, args.arcface_torch, args.form or "safetensors", shown("ranks"))
    else:
        export_original(args.source, args.out, args.ranks, shown("ranks"))
    log.info("wrote %s", args.out)


def _map(args: argparse.Namespace) -> None:
    from ..checkpoint.convert_centers import check_classes, map_centers
    from ..checkpoint.label_map import match_identities, read_label_map

    if args.labels is None:
        pairs, num_classes = match_identities(*args.names)
        check_classes(args.names[1], num_classes, args.num_classes)
    elif args.num_classes is None:
        raise InputError("--num-classes N is needed with --labels")
    else:
        pairs, num_classes = read_label_map(args.labels), args.num_classes
    map_centers(args.source, args.out, num_classes, pairs, args.seed, shown("blocks"))
    kept = len(set(pairs[:, 0].tolist()))
    log.info("%d identities keep their center, %d are new", kept, num_classes - kept)
    _log_centers(args.out)


def _dominant(args: argparse.Namespace) -> None:
    from ..checkpoint.dominant_centers import FAR_IMAGES, keep_dominant

    kept = keep_dominant(args.source, args.features, args.out, shown("blocks"))
    if kept.unseen:
        log.warning("%d classes have no image and keep their first center", kept.unseen)
    log.info("kept one of %d sub-centers of each class", kept.sub_centers)
    share = 100 * kept.far / kept.images
    log.info("%s/%s: %d of %d images (%.1f%%)", args.out, FAR_IMAGES, kept.far, kept.images, share)
    _log_centers(args.out)


def _log_centers(out: str) -> None:
    from ..checkpoint.center_files import CenterFiles

    centers = CenterFiles(out)
    log.info("%s: centers of %d classes, size %d", out, centers.num_classes, centers.embedding_size)
