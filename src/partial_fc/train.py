"""Build what a configuration describes and train it: `python -m partial_fc.train` is `partial-fc train`."""

import logging
import os
import sys
from typing import Any, Dict, Optional

from .config import Config, Run, StartOptions
from .data.open import Reader, open_data
from .device import choose_device
from .distributed.communicator import Communicator
from .distributed.signals import Signals
from .training.best_model import check_selection
from .training.build import check_network
from .training.callbacks import open_sets
from .training.config_file import describe_changes
from .training.input_rate import measure_input
from .training.paths import check_paths, check_records
from .training.run_folder import choose_models_root, continue_series, hold_models_root, open_models_root, run_files
from .training.run_log import start_log
from .training.start import check_agreement, check_same_data, run_of, start_module
from .training.updates import train_updates

log = logging.getLogger("partial_fc")


def train(
    config: Config, comm: Communicator, signals: Optional[Signals] = None, options: Optional[StartOptions] = None
) -> Optional[Dict[str, Any]]:
    """Train, verify and save what a configuration describes; rank 0 leaves a summary.

    Before all ranks can start, only the demo's faces and the lock of the models root are written.

    Args:
        signals: Signals by which the run may be asked to save or to end.
        options: of this start; None for the defaults.

    Returns:
        The summary on rank 0, see `leave_results`; None on the others and for `io_only`.

    Raises:
        CollectiveError: on every rank, for wrong input on any of them, or a models root that another run uses.
        Stopped: on every rank, when the run was asked to end.
    """
    options = options or StartOptions()
    check_agreement(config, options, comm)
    if options.io_only:
        with comm.raise_on_all_ranks():
            check_records(config)
        start_log(comm)
        measure_input(_open_data(config, comm), comm)
        return None
    check_network(config, comm)
    config, options = continue_series(config, options, comm)
    chosen = choose_models_root(config, options, comm)
    with comm.raise_on_all_ranks():
        check_selection(config)
        check_paths(config, chosen.path, comm.rank)
    held = start_log(comm)
    with hold_models_root(chosen, config, options, comm) as (models_root, lock):
        return _train(config, comm, signals or Signals(), options, models_root, lock, held)


def _train(config, comm, signals, options, models_root, lock, held):
    reader = _open_data(config, comm)
    with comm.raise_on_all_ranks():
        sets = open_sets(os.path.dirname(config.rec), config.val_targets, config.image_size)
        device = choose_device(config.device, comm)
    check_same_data(config, reader, comm)
    run = run_of(config, models_root, reader)
    start = start_module(run, comm, device)
    open_models_root(run, options, comm, bool(start.checkpoint), held)
    _log_run(run, comm, start.timeline.max_update, reader)
    return train_updates(run, start, reader, sets, comm, signals, lock)


def _open_data(config: Config, comm: Communicator) -> Reader:
    return open_data(
        config.source,
        config.rec,
        comm,
        num_classes=config.num_classes,
        image_size=config.image_size,
        batch_size=config.batch_size * config.accumulate,
        seed=config.seed,
        num_workers=config.num_workers,
        last_batch=config.last_batch,
        on_bad_record=config.on_bad_record,
        bad_record_share=config.bad_record_share,
        augmentation=dict(
            flip=config.flip,
            color_jitter=config.color_jitter,
            low_resolution=config.low_resolution,
            jpeg_compression=config.jpeg_compression,
            cutout=config.cutout,
        ),
    )


def _log_run(run: Run, comm: Communicator, max_update: int, reader: Reader) -> None:
    config, path = run.config, run_files(run.models_root)["config"]
    names = f"--dataset {config.dataset} --network {config.network} --loss {config.loss}"
    if config.presets:
        names = f"--presets {config.presets} {names}"
    log.info("configuration: %s; all keys: %s%s", names, path, describe_changes(config))
    log.info(
        "ranks: %d, identities: %d, updates: %d of %d images each",
        comm.world_size,
        run.num_classes,
        max_update,
        reader.global_batch_size,
    )


if __name__ == "__main__":
    from .cli.train import main

    sys.exit(main())
