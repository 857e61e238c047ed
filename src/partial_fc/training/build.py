"""Builds the module that a configuration describes: backbone, memory bank, loss, optimizer."""

import dataclasses
import logging
import zlib

import mxnet as mx

from ..backbone.batch_norm import check_batch_norm
from ..backbone.frozen import with_fixed_statistics
from ..config import Config, Run
from ..distributed.agreement import compare
from ..distributed.communicator import Communicator
from ..head.adaface import AdaFace
from ..head.bank import make_bank
from ..head.margin_softmax import Margin, MarginSoftmax
from ..head.optimizer import OPTIMIZERS, CenterAdamW, CenterOptimizer, CenterSGD
from ..head.partial_fc import Negatives, PartialFC
from ..planning.memory import check_memory, memory_plan, numbers_per_class, on_host
from .backbone_update import UpdateRule
from .module import FaceModule
from .network import log_network, network_symbol
from .precision import run_precision

log = logging.getLogger("partial_fc")


def check_network(config: Config, comm: Communicator) -> None:
    """Check the backbone before it is built.

    Raises:
        CollectiveError: on every rank, for a network that cannot train with the batch size and the UpdateRule, or that
            is another one on other ranks.
    """
    with comm.raise_on_all_ranks():
        symbol = network_symbol(config)
        computed = with_fixed_statistics(symbol, update_rule(config).frozen(symbol))
        check_batch_norm(computed, (config.batch_size, 3, config.image_size, config.image_size))
    compare("the checksum", {"the backbone": f"{zlib.crc32(symbol.tojson().encode()):08x}"}, comm)


def update_rule(config: Config) -> UpdateRule:
    """The rule for the backbone's parameters, whose fields have the names of the keys."""
    return UpdateRule(**{field.name: getattr(config, field.name) for field in dataclasses.fields(UpdateRule)})


def build(run: Run, comm: Communicator, ctx: mx.Context) -> FaceModule:
    """The FaceModule of a run, with its head.

    Raises:
        CollectiveError: on every rank, if the run cannot fit into the memory of any of them.
    """
    config = run.config
    with comm.raise_on_all_ranks():
        symbol = network_symbol(config)
        log_network(config, symbol)
    precision = run_precision(run, symbol, comm, ctx)
    with comm.raise_on_all_ranks():
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
        update_rule(config),
        config.initializer,
        precision,
        accumulate=config.accumulate,
        memonger=config.memonger,
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
            OPTIMIZERS[config.center_optimizer].states,
        )
    optimizer = None if config.freeze_centers else center_optimizer(config)
    negatives = Negatives(config.interclass_filtering, config.interclass_filtering_mode, config.sampling_correction)
    return PartialFC(bank, make_margin(config), optimizer, comm, precision, config.sub_centers, negatives)


def make_margin(config: Config) -> Margin:
    """The margin that a configuration describes."""
    s, warmup = config.loss_s, config.margin_warmup
    if config.adaface_m:
        return AdaFace(s, config.adaface_m, config.adaface_h, config.adaface_t_alpha, warmup)
    return MarginSoftmax(s, config.loss_m1, config.loss_m2, config.loss_m3, warmup)


def center_optimizer(config: Config) -> CenterOptimizer:
    """The optimizer of the class centers, if these are not frozen."""
    return CenterAdamW(config.wd) if config.center_optimizer == "adamw" else CenterSGD(config.momentum, config.wd)
