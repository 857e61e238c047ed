"""The commands `partial-fc centers ...`, the same as `python -m partial_fc.cli.centers ...`."""

import logging
import sys

from ..data.progress import progress
from ..output.closed_pipe import quiet_pipe
from .data.arguments import positive
from .parser import Parser
from .run import run

log = logging.getLogger("partial_fc")

_CENTERS = "folder with centers-*.safetensors: a checkpoint, or the OUT of a command here"


def parser():
    """Parser of the commands."""
    result = Parser(
        prog="partial-fc centers",
        description="Convert class centers. What import and map make, `train --centers OUT` "
        "starts from, beside the backbone that --pretrained names.",
    )
    commands = result.add_subparsers(dest="centers_command", required=True, metavar="COMMAND")
    command = commands.add_parser("import", help="from the published system's files, or NumPy's")
    command.add_argument(
        "source",
        metavar="SOURCE",
        help="folder with RANK_centers.param and RANK_centers_mom.param, or a file "
        "NAME.npy, with NAME_mom.npy beside it if there is momentum",
    )
    command.add_argument("out", metavar="OUT", help="folder for the centers")
    command.add_argument(
        "--num-classes",
        type=positive,
        metavar="N",
        help="true number of classes, for RANK_centers.param: the last ranks have rows beyond it",
    )
    command.set_defaults(run=_import)
    command = commands.add_parser("export", help="to the published system's files, or NumPy's")
    command.add_argument("source", metavar="SOURCE", help=_CENTERS)
    command.add_argument("out", metavar="OUT", help="folder for the new files")
    form = command.add_mutually_exclusive_group(required=True)
    form.add_argument(
        "--ranks", type=positive, metavar="S", help="as RANK_centers.param and RANK_centers_mom.param for S ranks"
    )
    form.add_argument("--numpy", action="store_true", help="as centers.npy and centers_mom.npy")
    command.set_defaults(run=_export)
    command = commands.add_parser(
        "map",
        help="for another set of identities",
        description="Centers for another set of identities: those that "
        "stay keep center and momentum, the others start anew.",
    )
    command.add_argument("source", metavar="SOURCE", help=_CENTERS)
    command.add_argument("out", metavar="OUT", help="folder for the centers")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--labels", metavar="FILE", help="text file, on each line a new label and the old one it was")
    which.add_argument(
        "--identities", nargs=2, metavar=("OLD", "NEW"), help="the identities.txt of both sets: equal names stay"
    )
    command.add_argument("--num-classes", type=positive, metavar="N", help="of the new set, with --labels")
    command.add_argument("--seed", type=int, default=0, help="of the centers that start anew (%(default)s)")
    command.set_defaults(run=_map)
    return result


@quiet_pipe
def main(argv=None):
    """Run a command; returns the exit status."""
    return run(parser().parse_args(argv))


def _import(args):
    from ..checkpoint.convert_centers import import_numpy, import_original
    from ..errors import InputError

    if args.source.endswith(".npy"):
        import_numpy(args.source, args.out, _blocks)
    elif args.num_classes is None:
        raise InputError("--num-classes N: needed, the last ranks' files have rows of no class")
    else:
        import_original(args.source, args.out, args.num_classes, lambda paths: progress(paths, "files"))
    _tell(args.out)


def _export(args):
    from ..checkpoint.convert_centers import export_numpy, export_original

    if args.numpy:
        export_numpy(args.source, args.out, _blocks)
    else:
        export_original(args.source, args.out, args.ranks, lambda ranks: progress(ranks, "ranks"))
    log.info("written: %s", args.out)


def _map(args):
    from ..checkpoint.convert_centers import map_centers
    from ..checkpoint.label_map import match_identities, read_label_map
    from ..errors import InputError

    if args.labels is None:
        pairs, num_classes = match_identities(*args.identities)
    elif args.num_classes is None:
        raise InputError("--num-classes N: needed with --labels")
    else:
        pairs, num_classes = read_label_map(args.labels), args.num_classes
    map_centers(args.source, args.out, num_classes, pairs, args.seed, _blocks)
    log.info("%d identities stay, %d start anew", len(pairs), num_classes - len(pairs))
    _tell(args.out)


def _blocks(blocks):
    return progress(blocks, "blocks")


def _tell(out):
    from ..checkpoint.center_files import CenterFiles

    centers = CenterFiles(out)
    log.info("%s: centers of %d classes, size %d", out, centers.num_classes, centers.embedding_size)


if __name__ == "__main__":
    sys.exit(main())
