"""Builds the module that a configuration describes: backbone, memory bank, loss, optimizer."""

import dataclasses
import logging

import mxnet as mx

from ..backbone.batch_norm import check_batch_norm
from ..backbone.frozen import with_fixed_statistics
from ..config import Config, Run
from ..device import Precision, choose_precision
from ..distributed.communicator import Communicator
from ..head.bank import make_bank
from ..head.margin_softmax import MarginSoftmax
from ..head.optimizer import OPTIMIZERS, CenterAdamW, CenterOptimizer, CenterSGD
from ..head.partial_fc import PartialFC
from .backbone_update import UpdateRule
from .module import FaceModule
from .network import network_symbol
from .plan import check_memory, memory_plan, on_host

log = logging.getLogger("partial_fc")


def check_network(config: Config, comm: Communicator) -> None:
    """Check that the network can train with this batch size and UpdateRule, before it is built.

    Raises:
        CollectiveError: on every rank, if it cannot.
    """
    with comm.raise_on_all_ranks():
        symbol = network_symbol(config)
        computed = with_fixed_statistics(symbol, update_rule(config).frozen(symbol))
        check_batch_norm(computed, (config.batch_size, 3, config.image_size, config.image_size))


def update_rule(config: Config) -> UpdateRule:
    """The rule for the backbone's parameters, whose fields have the names of the keys."""
    return UpdateRule(**{field.name: getattr(config, field.name) for field in dataclasses.fields(UpdateRule)})


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
        update_rule(config),
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
            OPTIMIZERS[config.center_optimizer].states,
        )
    margin = MarginSoftmax(config.loss_s, config.loss_m1, config.loss_m2, config.loss_m3)
    optimizer = None if config.freeze_centers else center_optimizer(config)
    return PartialFC(bank, margin, optimizer, comm, precision)


def center_optimizer(config: Config) -> CenterOptimizer:
    """The optimizer of the class centers, if these are not frozen."""
    return CenterAdamW(config.wd) if config.center_optimizer == "adamw" else CenterSGD(config.momentum, config.wd)
