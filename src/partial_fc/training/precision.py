"""The precision of a run: as its configuration asks for, unless its network is slower so."""

import mxnet as mx

from ..backbone.precision import with_precision
from ..config import Run, published_precision
from ..device import agreed_precision
from ..distributed.communicator import Communicator
from ..planning.memory import chosen_rows, numbers_per_class
from ..planning.network import why_slow_in_bfloat16


def run_precision(run: Run, symbol: mx.sym.Symbol, comm: Communicator, ctx: mx.Context) -> str:
    """The precision in which all ranks compute, which is logged.

    Args:
        run: Run.
        symbol: the plain backbone.
        comm: communicator.
        ctx: the device of this rank.

    Returns:
        `float32`, `bfloat16` or `float16`.

    Raises:
        CollectiveError: on every rank, for a precision that the device of any of them cannot compute.
    """
    slow = slow_network(run, symbol, comm.world_size)
    return agreed_precision(run.config.precision, comm, ctx, slow, published_precision(run.config))


def slow_network(run: Run, symbol: mx.sym.Symbol, world_size: int) -> str:
    """Why a CPU trains a run more slowly in bfloat16 than in float32; empty if it does not. Args as `run_precision`."""
    config = run.config
    head = world_size * chosen_rows(run, world_size) * numbers_per_class(config)
    return why_slow_in_bfloat16(with_precision(symbol, "float32"), config.image_size, head)
