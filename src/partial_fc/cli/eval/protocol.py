"""How the commands of `eval` run: on all ranks, from images or saved features to results."""

import argparse
import logging
import time
from typing import TYPE_CHECKING, Callable, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...errors import CollectiveError, InputError
from .arguments import model_options
from .paths import check_paths
from .results import write_results

if TYPE_CHECKING:
    import mxnet as mx

    from ...distributed.communicator import Communicator
    from ...eval.features import ModelFeatures
    from ...eval.image_source import Images
    from ...eval.output import Result

log = logging.getLogger("partial_fc")


class Protocol(NamedTuple):
    """A protocol, ready to compute.

    Attributes:
        measure: function from the features by a model, and whether they are saved ones, to its Result.
        sources: images by name, whose features are computed by every --model.
        saved: features from files.
        flip, unit: see `embed`.
        write_more: writes further files of what was measured, after the results: these do not depend on it.
    """

    measure: "Callable[[ModelFeatures, bool], Result]"
    sources: "Mapping[str, Images]"
    saved: "Sequence[ModelFeatures]"
    flip: bool
    unit: bool = False
    write_more: "Optional[Callable[[], None]]" = None


def run_protocol(args: argparse.Namespace, prepare: "Callable[[argparse.Namespace, int], Protocol]") -> int:
    """Run a protocol on all ranks; rank 0 measures and writes the results. Returns the exit status of this rank.

    Args:
        args: with the options of `add_model`, `add_keep` and `add_output`.
        prepare: function from the arguments and the rank to the Protocol; it may raise InputError.
    """
    from ...eval.embedding import open_embedders  # these import MXNet: --help need not wait for it
    from ...eval.features import embedded

    def work(comm: "Communicator") -> None:
        ctx, precision = choose_computation(args, comm)
        with comm.raise_on_all_ranks():
            options = model_options(args, comm)._replace(precision=precision)
            check_paths(args)
            protocol = prepare(args, comm.rank)
            sizes = {source.size for source in protocol.sources.values()}
            embedders = open_embedders(args.model, ctx, sizes, options)
        features = embedded(embedders, protocol.sources, comm, args.keep, args.overwrite, protocol.flip, protocol.unit)
        with features as computed:
            if comm.rank == 0:
                results = [protocol.measure(each, True) for each in protocol.saved]
                results += [protocol.measure(each, False) for each in computed]
                write_results(results, args)
                if protocol.write_more:
                    protocol.write_more()

    return on_all_ranks(work)


def choose_computation(args: argparse.Namespace, comm: "Communicator") -> "Tuple[mx.Context, str]":
    """Device of this rank, and precision of all ranks, which is logged if there is a model to compute.

    Args:
        args: with the options of `add_model`.
        comm: communicator.

    Raises:
        CollectiveError: on every rank: too few GPUs; a precision that the device of any rank, or an ONNX model, is not
            computed in.
    """
    from ...device import agreed_precision, choose_device  # these import MXNet: --help need not wait for it
    from ...eval.onnx_model import is_onnx

    models = [args.model] if isinstance(args.model, str) else args.model
    onnx = [name for name in models or () if is_onnx(name)]
    with comm.raise_on_all_ranks():
        if onnx and args.precision not in ("float32", "auto"):
            raise InputError(f"--precision {args.precision}: {onnx[0]} is an ONNX model, which is computed in float32")
        ctx = choose_device(args.device, comm)
    return ctx, agreed_precision(args.precision, comm, ctx) if len(onnx) < len(models or ()) else "float32"


def on_all_ranks(work: "Callable[[Communicator], None]") -> int:
    """Run `work` on this rank; only rank 0 logs, and prints an error that all ranks share. Returns the exit status."""
    from ...distributed.collectives import connect

    comm = connect(watch=True, stalls=False)  # the others may wait long for what one rank does alone
    log.setLevel(logging.ERROR if comm.rank else logging.INFO)  # all ranks find the same to warn of in the input
    try:
        work(comm)
    except CollectiveError as error:
        if comm.rank == 0:
            raise
        time.sleep(1)  # rank 0 prints the error first: the launcher ends all ranks as soon as one has ended
        return error.status
    return 0


def on_rank_0(work: "Callable[[Communicator], None]") -> int:
    """As `on_all_ranks`, for work on few images, which rank 0 does alone; its errors are raised on every rank."""

    def alone(comm: "Communicator") -> None:
        with comm.raise_on_all_ranks():
            if comm.rank == 0:
                work(comm)

    return on_all_ranks(alone)


def check_model_or_features(args: argparse.Namespace) -> None:
    """Raise InputError without --model and --features."""
    if not args.model and not args.features:
        raise InputError("--model, or --features, or both are needed")
