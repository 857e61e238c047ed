"""The command `partial-fc eval verification`."""

import argparse
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ..options import add_fit
from ..run import add_command
from .arguments import add_mistakes, add_model, add_output, model_options
from .paths import check_paths
from .protocol import choose_computation, on_rank_0
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
    add_mistakes(command, "of one model and one set, with mirror images")
    add_fit(command)
    add_model(command)
    add_output(command)


def _verification(args: argparse.Namespace) -> int:
    from ...distributed.communicator import Communicator as OneRank  # these import MXNet: --help need not wait for it
    from ...eval.embedding import open_embedders
    from ...eval.mistakes import write_mistakes
    from ...eval.protocols.pair_sets import open_pair_sets
    from ...eval.protocols.verification_protocol import compare_pairs, judge, verification_result

    def work(comm: "Communicator") -> None:
        ctx, precision = choose_computation(args, OneRank())
        options = model_options(args, comm)._replace(precision=precision)
        check_paths(args)
        _check_one(args)
        sets = open_pair_sets(args.bin, args.images, args.pairs, args.size)
        embedders = open_embedders(args.model, ctx, {pairs.size for pairs in sets}, options)
        measured = [(compare_pairs(each, pairs), pairs, each) for each in embedders for pairs in sets]
        write_results([verification_result(*each) for each in measured], args)
        if args.mistakes:
            ((distances, pairs, _),) = measured
            write_mistakes(args.mistakes, judge(distances, pairs), pairs.names_of_pair, pairs.read_pair)

    return on_rank_0(work)


def _check_one(args: argparse.Namespace) -> None:
    """Raise InputError if --mistakes is used with several results."""
    if args.mistakes and (len(args.model) > 1 or len(args.bin) + bool(args.pairs) > 1):
        raise InputError("--mistakes is for one --model and one set of pairs")
