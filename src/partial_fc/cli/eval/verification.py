"""The command `partial-fc eval verification`."""

import argparse
from typing import TYPE_CHECKING, Any

from ..options import add_fit
from ..run import add_command
from .arguments import add_model, add_output, model_options
from .paths import check_paths
from .protocol import choose_computation, on_all_ranks
from .results import write_results

if TYPE_CHECKING:
    from ...distributed.communicator import Communicator

_VERIFICATION = """\
InsightFace's protocol for LFW and similar sets: the embeddings of an image and of its mirror image are added and
normalized; each of ten folds is judged by the threshold that is best on the others."""


def add(commands: Any) -> None:
    """Add the command to the sub-parsers."""
    command = add_command(
        commands,
        "verification",
        _verification,
        help="accuracy on pairs of faces: LFW, CFP-FP, AgeDB-30 ...",
        description=_VERIFICATION,
        example="partial-fc eval verification --model PREFIX --bin lfw.bin cfp_fp.bin",
    )
    command.add_argument(
        "--bin",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="verification sets in InsightFace's format (default: none, see --pairs)",
    )
    command.add_argument(
        "--images",
        metavar="DIR",
        help="folder of the images of --pairs: DIR/NAME/NAME_0001.*, or the paths in the list (default: none)",
    )
    command.add_argument(
        "--pairs",
        metavar="FILE",
        help="list of pairs in LFW's format, or lines PATH1 PATH2 LABEL (default: none, see --bin)",
    )
    add_fit(command)
    add_model(command)
    add_output(command)


def _verification(args: argparse.Namespace) -> int:
    from ...distributed.communicator import Communicator as OneRank  # these import MXNet: --help need not wait for it
    from ...eval.embedding import open_embedders
    from ...eval.protocols.pair_sets import open_pair_sets
    from ...eval.protocols.verification_protocol import measure

    def work(comm: "Communicator") -> None:
        with comm.raise_on_all_ranks():
            if comm.rank:  # few images: one rank is enough
                return
            ctx, precision = choose_computation(args, OneRank())
            options = model_options(args, comm)._replace(precision=precision)
            check_paths(args)
            sets = open_pair_sets(args.bin, args.images, args.pairs, args.size)
            sizes = {pairs.size for pairs in sets}
            embedders = open_embedders(args.model, ctx, sizes, options)
            write_results([measure(embedder, pairs) for embedder in embedders for pairs in sets], args)

    return on_all_ranks(work)
