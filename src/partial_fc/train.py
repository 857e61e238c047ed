"""Build what a configuration describes and train it: `python -m partial_fc.train`, the same as `partial-fc train`."""

import contextlib
import functools
import logging
import os
import sys
import time

import mxnet as mx
import numpy as np
from tqdm.contrib.logging import logging_redirect_tqdm

from . import config as configuration
from .agreement import checksums, compare, settings, versions
from .callbacks import LossLog, Periodic, TensorBoard, Verification
from .checkpoint import load_parameters, remove_other_centers, save_centers, save_model
from .collectives import connect
from .curves import draw_curves
from .data.augmentation import Augmentation
from .data.batches import BatchReader
from .data.demo import make_demo
from .data.image import decode_image
from .data.records import RecordFile
from .data.synthetic import SyntheticBatches
from .data.verification_set import load_verification_set
from .errors import AgreedError, InputError
from .eval.verification import NUM_FOLDS, pixel_embeddings, verify
from .head import PartialFC
from .host_bank import HostBank
from .input_rate import measure_input
from .lr_scheduler import multi_step_lr
from .margin_softmax import MarginSoftmax
from .memory_bank import MemoryBank
from .module import FaceModule
from .optimizer import CenterSGD
from .plan import check_memory, memory_plan, on_host
from .summary import print_summary, write_summary
from .symbol import get_symbol
from .watch import FAILED

WRONG_INPUT = 2  # exit status, argparse's for wrong arguments: the same run would fail again

log = logging.getLogger("partial_fc")


def main(argv=None):
    """Train as the arguments say; returns the exit status."""
    comm = None
    try:
        config = configuration.from_command_line(sys.argv[1:] if argv is None else argv)
        comm = connect()
        train(config, comm)
    except AgreedError as error:
        mx.nd.waitall()  # what all ranks have begun together
        # Rank 0 speaks for all, and first: the launcher ends the others as soon as one has ended.
        if comm.rank:
            time.sleep(1)
        else:
            print(f"error: {error}", file=sys.stderr, flush=True)
        return WRONG_INPUT
    except (InputError, OSError) as error:
        status = WRONG_INPUT if isinstance(error, InputError) else FAILED
        if comm:
            comm.fail(str(error), status)
        print(f"error: {error}", file=sys.stderr, flush=True)
        return status
    return 0


def train(config, comm):
    """Train, verify and save what `config` (see `config.from_command_line`) describes; rank 0 leaves a summary.

    Raises:
        AgreedError: on every rank, for wrong input on any of them.
    """
    with comm.together():
        _start_log(config, comm)
    compare("the version", versions(), comm)
    compare("the setting", settings(config), comm)
    with comm.together():
        if config.source == "demo" and comm.local_rank == 0:
            _make_demo(config)
    with comm.together():
        reader = _open_data(config, comm)
    if config.io_only:
        measure_input(reader, comm)
        return
    with comm.together():
        sets = {name: _open_verification_set(config, name) for name in config.val_targets}
        device = _device(config, comm)
        files = {} if config.source == "synthetic" else checksums(config, reader.records)
    compare("the checksum", files, comm)
    module = build(config, comm, device)
    if config.pretrained:
        with comm.together():
            if comm.rank == 0:
                _load_pretrained(config, module)
        module.broadcast_parameters()
    log.info("configuration:\n%s", configuration.describe(config))
    log.info(
        "%d ranks, %d identities: %d updates of %d images",
        comm.world_size, config.num_classes, config.max_update, reader.global_batch_size,
    )
    schedule = functools.partial(_learning_rates, config)
    pixels = {name: verify(pixel_embeddings, *pairs).accuracy for name, pairs in sets.items()}
    with TensorBoard(config.models_root, comm.rank) as board:
        verification = Verification(module, sets, board)
        verification.measure(0)
        losses = LossLog(config, schedule, reader.global_batch_size, comm, board)
        callbacks = [
            losses,
            Periodic(functools.partial(_save, config, comm, module), config.save_interval, config.max_update),
            Periodic(verification.measure, config.verbose, config.max_update),
        ]
        # lines of the log above the progress bar, not through it
        with losses, logging_redirect_tqdm([log]), contextlib.closing(reader.batches()) as batches:
            module.fit(batches, schedule, config.max_update, callbacks)
    if comm.rank == 0:
        draw_curves(_files(config)["curves"], losses.path, verification.history, config.lr_steps)
        print_summary(write_summary(config, comm.world_size, losses, pixels, verification, _files(config)))


def build(config, comm, ctx):
    """The FaceModule, with its head, of a configuration.

    Raises:
        AgreedError: on every rank, if the run cannot fit into the memory of any of them.
    """
    symbol = get_symbol(config.network, config.embedding_size, config.net_output)
    with comm.together():
        log.info("memory: %s", check_memory(memory_plan(config, symbol, comm.world_size), config, comm, ctx))
    with comm.together():
        bank = _bank(config, comm, ctx)
    margin = MarginSoftmax(config.loss_s, config.loss_m1, config.loss_m2, config.loss_m3)
    head = PartialFC(bank, margin, CenterSGD(config.momentum, config.wd), comm)
    return FaceModule(
        symbol, head, comm, ctx, config.batch_size, config.image_size, config.seed, config.momentum, config.wd
    )


def _bank(config, comm, ctx):
    arguments = config.num_classes, config.embedding_size, comm, config.sample_ratio, ctx, config.seed
    if on_host(config, comm.world_size):
        return HostBank(*arguments, folder=config.bank_dir or None)
    return MemoryBank(*arguments)


def _load_pretrained(config, module):
    prefix, _, epoch = config.pretrained.rpartition(",")
    path = f"{prefix}-{int(epoch):04d}.params"
    missing, surplus = load_parameters(path, {**module.arg_params, **module.aux_params})
    log.info("%s: %d parameters are not in it%s", path, len(missing), "".join("\n  " + name for name in missing))
    log.info("%s: %d parameters have no use%s", path, len(surplus), "".join("\n  " + name for name in surplus))


def _start_log(config, comm):
    """Rank 0 tells all, on the terminal and in `train.log`; the others only what goes wrong."""
    log.setLevel(logging.INFO if comm.rank == 0 else logging.WARNING)
    log.handlers = [logging.StreamHandler(sys.stdout)]
    if comm.rank == 0:
        try:
            os.makedirs(config.models_root, exist_ok=True)
            log.addHandler(logging.FileHandler(os.path.join(config.models_root, "train.log"), mode="w"))
        except OSError as error:
            raise InputError(f"--models-root: cannot write there: {error}") from error
    for handler in log.handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))


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
    records = RecordFile(config.rec)
    if not config.num_classes and records.num_identities is None:
        raise InputError(f"{config.rec} lists no identities: give their number, --set num_classes=...")
    config.num_classes = config.num_classes or records.num_identities
    reader = BatchReader(
        records, config.image_size, config.batch_size, comm, config.seed, config.num_workers,
        Augmentation(*(config[key] for key in Augmentation._fields)), config.last_batch, config.num_classes,
        config.on_bad_record, config.bad_record_share,
    )
    log.info("%s: %d images, %d updates an epoch", records.path, len(records.keys), reader.updates_per_epoch)
    return reader


def _open_verification_set(config, name):
    """Decoded images (2P, H, W, 3) and issame (P,)."""
    path = os.path.join(os.path.dirname(config.rec), name + ".bin")
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such verification set; --set val_targets= goes without")
    images, issame = load_verification_set(path)
    if len(issame) < NUM_FOLDS:
        raise InputError(f"{path}: {len(issame)} pairs, fewer than the {NUM_FOLDS} folds of the protocol")
    size = (config.image_size, config.image_size)
    return np.stack([decode_image(image, size, f"{path}: image {i}") for i, image in enumerate(images)]), issame


def _device(config, comm):
    num_gpus = mx.context.num_gpus()
    if config.device == "cpu" or config.device == "auto" and not num_gpus:
        return mx.cpu()
    if comm.local_rank >= num_gpus:
        raise InputError(
            f"this host has {num_gpus} GPUs, too few for rank {comm.rank}, number {comm.local_rank + 1} on it: "
            "start fewer ranks, or --set device=cpu"
        )
    return mx.gpu(comm.local_rank)


def _learning_rates(config, num_update):
    """Learning rates of backbone and centers at an update counted from 0."""
    return tuple(
        multi_step_lr(base, config.lr_steps, config.lr_factor, num_update)
        for base in (config.backbone_lr, config.memory_bank_lr)
    )


def _files(config):
    """Where a run leaves what, by name."""
    names = dict(model="model", centers="centers", log="train.log", curves="curves.png")
    return {name: os.path.join(config.models_root, file) for name, file in names.items()}


def _save(config, comm, module, num_update):
    """Save model and centers; the files of an earlier saving are replaced one by one when the new ones are whole."""
    files = _files(config)
    module.average_statistics()
    with comm.together():
        os.makedirs(files["centers"], exist_ok=True)
        save_centers(files["centers"], module.head.bank, comm.world_size)
        if comm.rank == 0:
            save_model(files["model"], module.symbol, module.arg_params, module.aux_params)
    with comm.together():
        if comm.local_rank == 0:
            remove_other_centers(files["centers"], comm.world_size)
    log.info("update %d  saved model and centers in %s", num_update, config.models_root)


if __name__ == "__main__":
    sys.exit(main())
