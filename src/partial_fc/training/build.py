"""Builds the module that a configuration describes: backbone, memory bank, loss, optimizer."""

import logging
import zlib

import mxnet as mx

from ..backbone.batch_norm import check_batch_norm
from ..config import Config, Run
from ..device import agreed_precision
from ..distributed.agreement import compare
from ..distributed.communicator import Communicator
from ..head.adaface import AdaFace
from ..head.bank import make_bank
from ..head.margin_softmax import Margin, MarginSoftmax
from ..head.optimizer import CenterSGD
from ..head.partial_fc import PartialFC
from .module import FaceModule
from .network import log_network, network_symbol
from .plan import check_memory, memory_plan, numbers_per_class, on_host

log = logging.getLogger("partial_fc")


def check_network(config: Config, comm: Communicator) -> None:
    """Check the backbone before it is built.

    Raises:
        CollectiveError: on every rank, for a network that cannot train with the batch size, or that is another one on
            other ranks.
    """
    with comm.raise_on_all_ranks():
        symbol = network_symbol(config)
        check_batch_norm(symbol, (config.batch_size, 3, config.image_size, config.image_size))
    compare("the checksum", {"the backbone": f"{zlib.crc32(symbol.tojson().encode()):08x}"}, comm)


def build(run: Run, comm: Communicator, ctx: mx.Context) -> FaceModule:
    """The FaceModule of a run, with its head.

    Raises:
        CollectiveError: on every rank, if the run cannot fit into the memory of any of them.
    """
    config = run.config
    precision = agreed_precision(config.precision, comm, ctx)
    with comm.raise_on_all_ranks():
        symbol = network_symbol(config)
        log_network(config, symbol)
        plan = memory_plan(run, symbol, comm.world_size, ctx, precision)
        log.info("memory: %s", check_memory(plan, run, comm, ctx))
    return FaceModule(
        symbol,
        _head(run, comm, ctx, precision),
        comm,
        ctx,
        config.batch_size,
        config.image_size,
        config.seed,
        config.momentum,
        config.wd,
        config.initializer,
        config.bias_decay,
        precision,
    )


def _head(run: Run, comm: Communicator, ctx: mx.Context, precision: str) -> PartialFC:
    config = run.config
    with comm.raise_on_all_ranks():
        bank = make_bank(
            run.num_classes,
            numbers_per_class(config),
            comm,
            config.sample_ratio,
            ctx,
            config.seed,
            on_host(run, comm.world_size),
            config.bank_dir or None,
        )
    return PartialFC(
        bank, make_margin(config), CenterSGD(config.momentum, config.wd), comm, precision, config.sub_centers
    )


def make_margin(config: Config) -> Margin:
    """The margin that a configuration describes."""
    s, warmup = config.loss_s, config.margin_warmup
    if config.adaface_m:
        return AdaFace(s, config.adaface_m, config.adaface_h, config.adaface_t_alpha, warmup)
    return MarginSoftmax(s, config.loss_m1, config.loss_m2, config.loss_m3, warmup)
