"""Build what a configuration describes and train it: `python -m partial_fc.train` is `partial-fc train`."""

import contextlib
import functools
import logging
import logging.handlers
import os
import sys

from . import config as configuration
from .backbone.batch_norm import check_batch_norm
from .checkpoint.checkpoints import Checkpoints
from .data.augmentation import Augmentation
from .data.batches import BatchReader
from .data.demo.records import make_demo
from .data.records.record_file import RecordFile
from .data.synthetic import SyntheticBatches
from .device import choose_device
from .distributed.agreement import checksums, compare, settings
from .distributed.signals import Signals
from .errors import InputError
from .eval.protocols.verification import pixel_embeddings, verify
from .eval.protocols.verification_sets import find_verification_sets, open_verification_set
from .head.host_bank import HostBank
from .head.margin_softmax import MarginSoftmax
from .head.memory_bank import MemoryBank
from .head.optimizer import CenterSGD
from .head.partial_fc import PartialFC
from .output.log import Console, LogFile
from .symbol import get_symbol
from .training.callbacks import LossLog, Periodic, TensorBoard, Verification
from .training.curves import draw_curves
from .training.input_rate import measure_input
from .training.module import FaceModule
from .training.plan import busy_timeout, check_memory, memory_plan, on_host
from .training.run_folder import choose_models_root, clear, hold_models_root, run_files
from .training.run_state import RunState
from .training.saving import Saver, find_checkpoint, restore
from .training.schedules import multi_step_lr
from .training.start import check_paths, load_start, read_start
from .training.summary import write_summary
from .versions import versions

_SECONDS_TO_DRAW = 900  # the demo's faces on a busy machine

_FORMAT = "%(asctime)s %(message)s"

log = logging.getLogger("partial_fc")


def train(config, comm, signals=None):
    """Train, verify and save what `config` describes; rank 0 leaves a summary.

    Nothing is written before all ranks can start, but for the demo's faces and the lock of the models root.

    Args:
        signals: Signals by which the run may be asked to save or to end.

    Returns:
        The summary on rank 0, see `write_summary`; None on the others and for `io_only`.

    Raises:
        CollectiveError: on every rank, for wrong input on any of them, or a models root that another run uses.
        Stopped: on every rank, when the run was asked to end.
    """
    compare("the version", versions(), comm)
    compare("the setting", settings(config), comm)
    if not config.io_only:
        with comm.raise_on_all_ranks():  # long before the module is made, which would find it, too
            check_batch_norm(_symbol(config), (config.batch_size, 3, config.image_size, config.image_size))
    may_change = not config.io_only and choose_models_root(config, comm)
    with comm.raise_on_all_ranks():
        check_paths(config, comm.rank)
    held = _start_log(comm)
    if config.io_only:
        return measure_input(_reader(config, comm), comm)
    with hold_models_root(config, comm, may_change) as lock:
        return _train(config, comm, signals or Signals(), lock, held)


def _reader(config, comm):
    """What gives this rank its batches, after the demo was drawn."""
    with comm.raise_on_all_ranks():
        if config.source == "demo" and comm.local_rank == 0:
            with comm.busy("drawing the demo", _SECONDS_TO_DRAW):
                _make_demo(config)
    with comm.raise_on_all_ranks():
        reader = _open_data(config, comm)
    return reader


def _train(config, comm, signals, lock, held):
    reader = _reader(config, comm)
    with comm.raise_on_all_ranks():
        paths = find_verification_sets(os.path.dirname(config.rec), config.val_targets)
        sets = {name: open_verification_set(path, config.image_size) for name, path in paths.items()}
        device = choose_device(config.device, comm)
        files = {} if config.source == "synthetic" else checksums(config, reader.records)
    compare("the checksum", files, comm)
    checkpoints = Checkpoints(run_files(config.models_root)["checkpoints"], comm, config.keep_checkpoints)
    with comm.busy("the start", busy_timeout(config, comm.world_size)):
        found = find_checkpoint(config, comm, checkpoints)
        with comm.raise_on_all_ranks():
            loaded = {} if found else read_start(config, comm.rank)
        module = build(config, comm, device)
        progress = _start(config, comm, module, found, loaded)
    with comm.raise_on_all_ranks():
        _open_models_root(config, comm, found, held)
    log.info("configuration:\n%s", configuration.describe(config))
    log.info(
        "ranks: %d, identities: %d, updates: %d of %d images each",
        comm.world_size,
        config.num_classes,
        config.max_update,
        reader.global_batch_size,
    )
    schedule = functools.partial(_learning_rates, config)
    pixels = {name: verify(pixel_embeddings, *pairs).accuracy for name, pairs in sets.items()}
    with TensorBoard(config.models_root, comm.rank, progress.last.num_update) as board:
        verification = Verification(module, sets, board, progress.history, progress.best)
        if not verification.history or not set(sets) <= set(verification.best):
            verification.measure(progress.last.num_update)
        losses = LossLog(config, schedule, reader.global_batch_size, comm, board, progress.first, progress.last)
        saver = Saver(
            config,
            comm,
            module,
            checkpoints,
            signals,
            lambda: RunState(losses.first, losses.last, verification.history, verification.best),
            lock,
        )
        callbacks = [losses, Periodic(verification.measure, config.verbose, config.max_update), saver]
        with losses, contextlib.closing(reader.batches(losses.last.position)) as batches:
            module.fit(batches, schedule, config.max_update, callbacks, losses.last, saver.requests)
    if comm.rank == 0:
        files = run_files(config.models_root)
        draw_curves(files["curves"], losses.path, verification.history, config.lr_steps)
        return write_summary(config, comm.world_size, losses, pixels, verification, files)
    return None


def build(config, comm, ctx):
    """The FaceModule, with its head, of a configuration.

    Raises:
        CollectiveError: on every rank, if the run cannot fit into the memory of any of them.
    """
    symbol = _symbol(config)
    with comm.raise_on_all_ranks():
        log.info("memory: %s", check_memory(memory_plan(config, symbol, comm.world_size), config, comm, ctx))
    with comm.raise_on_all_ranks():
        bank = _bank(config, comm, ctx)
    margin = MarginSoftmax(config.loss_s, config.loss_m1, config.loss_m2, config.loss_m3)
    head = PartialFC(bank, margin, CenterSGD(config.momentum, config.wd), comm)
    return FaceModule(
        symbol,
        head,
        comm,
        ctx,
        config.batch_size,
        config.image_size,
        config.seed,
        config.momentum,
        config.wd,
        config.initializer,
        config.bias_decay,
    )


def _symbol(config):
    return get_symbol(config.network, config.embedding_size, config.net_output)


def _bank(config, comm, ctx):
    arguments = config.num_classes, config.embedding_size, comm, config.sample_ratio, ctx, config.seed
    if on_host(config, comm.world_size):
        return HostBank(*arguments, folder=config.bank_dir or None)
    return MemoryBank(*arguments)


def _start(config, comm, module, found, loaded):
    """Put the module where the run starts from; returns the RunState so far."""
    if found:
        return restore(*found, module, config, comm)
    load_start(config, comm, module, loaded)
    return RunState()


def _start_log(comm):
    """Rank 0 logs everything, the others only what goes wrong.

    Returns:
        handler that holds what is logged until there is a file for it: a start that fails leaves none.
    """
    log.setLevel(logging.INFO if comm.rank == 0 else logging.WARNING)
    terminal = Console("stdout", _FORMAT)
    held = logging.handlers.MemoryHandler(sys.maxsize, flushLevel=sys.maxsize, flushOnClose=False)
    log.handlers = [terminal, held] if comm.rank == 0 else [terminal]
    return held


def _open_models_root(config, comm, found, held):
    """Make the folder of a run that can start, without an earlier run's results, and write there what was logged."""
    if config.overwrite and comm.local_rank == 0 and not (found and config.resume == "auto"):
        clear(config.models_root)
    if comm.rank:
        return
    path = run_files(config.models_root)["log"]
    try:
        os.makedirs(config.models_root, exist_ok=True)
        if config.resume != "auto" and os.path.exists(path):
            os.remove(path)
        file = LogFile(path, _FORMAT)
    except OSError as error:
        raise InputError(f"--models-root {config.models_root}: cannot write there: {error}") from error
    held.setTarget(file)
    held.flush()
    log.handlers = [file if handler is held else handler for handler in log.handlers]


def _make_demo(config):
    def progress(identities):
        for identity in identities:
            if identity % 100 == 0:
                log.info("drawing the demo's faces: %d of %d identities", identity, len(identities))
            yield identity

    make_demo(os.path.dirname(config.rec), config.image_size, progress)


def _open_data(config, comm):
    """What gives this rank its batches; sets num_classes if the configuration leaves it to the record file."""
    if config.source == "synthetic":
        return SyntheticBatches(config.num_classes, config.image_size, config.batch_size, comm, config.seed)
    records = RecordFile(config.rec, tolerant=config.on_bad_record == "skip")
    if records.problem:
        log.warning("%s: images are taken to be all that come before the last that can be read", records.problem)
    if not config.num_classes and records.num_identities is None:
        raise InputError(f"{config.rec} lists no identities: give their number, --set num_classes=...")
    config.num_classes = config.num_classes or records.num_identities
    reader = BatchReader(
        records,
        config.image_size,
        config.batch_size,
        comm,
        config.seed,
        config.num_workers,
        Augmentation(*(config[key] for key in Augmentation._fields)),
        config.last_batch,
        config.num_classes,
        config.on_bad_record,
        config.bad_record_share,
    )
    log.info("%s: %d images, %d updates per epoch", records.path, len(records.keys), reader.updates_per_epoch)
    return reader


def _learning_rates(config, num_update):
    """Learning rates of backbone and centers at an update counted from 0."""
    return tuple(
        multi_step_lr(base, config.lr_steps, config.lr_factor, num_update)
        for base in (config.backbone_lr, config.memory_bank_lr)
    )


if __name__ == "__main__":
    from .cli.train import main

    sys.exit(main())
