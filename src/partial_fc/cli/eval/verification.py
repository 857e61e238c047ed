"""The command `partial-fc eval verification`."""

from ..data.arguments import positive
from .arguments import add_model, add_output

_VERIFICATION = """\
InsightFace's protocol for LFW and sets like it: the embeddings of an image and of its mirror image are added and
normalized, ten folds, each with the threshold that is best on the others."""


def add(commands):
    """Add the command to the sub-parsers."""
    command = commands.add_parser(
        "verification", help="accuracy on pairs of faces: LFW, CFP-FP, AgeDB-30 ...", description=_VERIFICATION
    )
    command.add_argument(
        "--bin", nargs="+", action="extend", default=[], metavar="FILE", help="verification sets of InsightFace's form"
    )
    command.add_argument("--images", metavar="FOLDER", help="images of --pairs: FOLDER/NAME/NAME_0001.*, or the paths")
    command.add_argument("--pairs", metavar="FILE", help="pairs in LFW's form, or lines PATH1 PATH2 LABEL")
    command.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="cut the middle square of every image and resize it to N x N pixels; without it, all images have to have "
        "the size of the first",
    )
    add_model(command)
    add_output(command)
    command.set_defaults(run=_verification)


def _verification(args):
    # imports MXNet: --help need not wait for it
    from ...device import choose_device
    from ...eval.embedding import open_embedders
    from ...eval.on_all_ranks import on_all_ranks
    from ...eval.protocols.pair_sets import open_pair_sets
    from ...eval.protocols.verification_protocol import measure
    from .paths import check_paths
    from .results import write_results

    def work(comm):
        with comm.raise_on_all_ranks():
            if comm.rank:  # few images: one rank is enough
                return
            check_paths(args)
            sets = open_pair_sets(args.bin, args.images, args.pairs, args.size)
            sizes = {pairs.size for pairs in sets}
            embedders = open_embedders(args, choose_device(args.device, comm), sizes)
            write_results([measure(embedder, pairs) for embedder in embedders for pairs in sets], args)

    return on_all_ranks(work)
