"""Builds the module that a configuration describes: backbone, memory bank, loss, optimizer."""

import logging

import mxnet as mx

from ..backbone.batch_norm import check_batch_norm
from ..config import Config, Run
from ..device import Precision, choose_precision
from ..distributed.communicator import Communicator
from ..head.bank import make_bank
from ..head.margin_softmax import MarginSoftmax
from ..head.optimizer import CenterSGD
from ..head.partial_fc import PartialFC
from .backbone_update import UpdateRule
from .module import FaceModule
from .network import network_symbol
from .plan import check_memory, memory_plan, on_host

log = logging.getLogger("partial_fc")


def check_network(config: Config, comm: Communicator) -> None:
    """Raise CollectiveError, on every rank, for a network that cannot train with the batch size, before it is built."""
    with comm.raise_on_all_ranks():
        check_batch_norm(network_symbol(config), (config.batch_size, 3, config.image_size, config.image_size))


def build(run: Run, comm: Communicator, ctx: mx.Context) -> FaceModule:
    """The FaceModule of a run, with its head.

    Raises:
        CollectiveError: on every rank, if the run cannot fit into the memory of any of them.
    """
    config, symbol = run.config, network_symbol(run.config)
    precision = agreed_precision(config.precision, comm, ctx)
    with comm.raise_on_all_ranks():
        log.info("memory: %s", check_memory(memory_plan(run, symbol, comm.world_size), run, comm, ctx))
    return FaceModule(
        symbol,
        _head(run, comm, ctx, precision),
        comm,
        ctx,
        config.batch_size,
        config.image_size,
        config.seed,
        UpdateRule(config.momentum, config.wd, config.bias_decay, config.clip_gradient_norm),
        config.initializer,
        precision,
    )


def agreed_precision(requested: str, comm: Communicator, ctx: mx.Context) -> str:
    """The precision of all ranks, see `choose_precision`; float32 where `auto` chooses different ones on them.

    Raises:
        CollectiveError: on every rank, for a precision that the device of any of them cannot compute.
    """
    with comm.raise_on_all_ranks():
        chosen = choose_precision(requested, ctx)
    names = comm.all_gather_object(chosen.name)
    if len(set(names)) > 1:
        chosen = Precision("float32", f"auto: the devices of the ranks differ ({', '.join(sorted(set(names)))})")
    log.log(logging.WARNING if chosen.is_slow else logging.INFO, "precision: %s, %s", chosen.name, chosen.reason)
    return chosen.name


def _head(run: Run, comm: Communicator, ctx: mx.Context, precision: str) -> PartialFC:
    config = run.config
    with comm.raise_on_all_ranks():
        bank = make_bank(
            run.num_classes,
            config.embedding_size,
            comm,
            config.sample_ratio,
            ctx,
            config.seed,
            on_host(run, comm.world_size),
            config.bank_dir or None,
        )
    margin = MarginSoftmax(config.loss_s, config.loss_m1, config.loss_m2, config.loss_m3)
    return PartialFC(bank, margin, CenterSGD(config.momentum, config.wd), comm, precision)
