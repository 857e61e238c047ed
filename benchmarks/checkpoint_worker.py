"""One rank of benchmarks.checkpoint."""

import contextlib
import glob
import os
import threading
from typing import Any, Dict, List

import mxnet as mx

from partial_fc.checkpoint.checkpoints import Checkpoints
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run
from partial_fc.data.synthetic import SyntheticBatches
from partial_fc.distributed.collectives import connect
from partial_fc.distributed.communicator import Communicator
from partial_fc.distributed.lock import LOCK, Lock
from partial_fc.distributed.signals import Signals
from partial_fc.training.build import build
from partial_fc.training.module import UpdateStats
from partial_fc.training.resume import find_checkpoint, restore
from partial_fc.training.run_state import RunState
from partial_fc.training.saving import Saver

from .measure import interleave, progress, resident, spread, work

_UPDATES = 3
_MB = 1e6


def _run(arguments):
    config = from_command_line(
        [
            "--dataset=100w",
            "--network=r18",
            "--batch-size=8",
            "--resume=auto",
            f"--models-root={arguments['folder']}",
            f"--set=num_classes={arguments['num_classes']}",
            "--set=keep_checkpoints=1",
            "--set=save_interval=1",
            "--set=on_save_error=stop",
        ]
    )
    return Run(config, config.models_root, config.num_classes)


def _checkpoints(run, comm):
    return Checkpoints(os.path.join(run.models_root, "checkpoints"), comm, run.config.keep_checkpoints)


def _found(run, comm, checkpoints):
    found = find_checkpoint(run, comm, checkpoints)
    assert found
    return found


def measure_save(comm: Communicator, arguments: Dict[str, Any]) -> Dict[str, Any]:
    """Seconds of an update, and of a checkpoint after it."""
    run = _run(arguments)
    config = run.config
    module = build(run, comm, mx.cpu())
    batch = next(SyntheticBatches(config.num_classes, config.image_size, config.batch_size, comm).batches())
    report = UpdateStats(1, 1.0, 1.0)
    lock = Lock(os.path.join(config.models_root, LOCK))
    saver = Saver(
        run, comm, module, _checkpoints(run, comm), Signals(), lambda: RunState(report, report), lock, config.max_update
    )
    calls = dict(
        update=lambda number: module.update(batch, number, 0.1, 0.1),
        save=lambda number: saver(report._replace(num_update=number + 1)),
    )
    title = f"{config.num_classes:,} classes"
    seconds = interleave(comm, calls, arguments["runs"], lambda number: (number,), title)
    (folder,) = glob.glob(os.path.join(config.models_root, "checkpoints", "update-*"))
    return dict(
        num_classes=config.num_classes,
        ranks=comm.world_size,
        megabytes=sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder)) / _MB,
        **spread("save_seconds", seconds["save"]),
        **spread("update_seconds", seconds["update"]),
    )


def measure_load(comm: Communicator, arguments: Dict[str, Any]) -> Dict[str, Any]:
    """Seconds to find, check and load a checkpoint, and the additional memory of a rank meanwhile."""
    run = _run(arguments)
    config = run.config
    module = build(run, comm, mx.cpu())
    checkpoints = _checkpoints(run, comm)
    module.head.bank.weight_mom[:] = 0  # zeros that were never written take no memory yet
    mx.nd.waitall()
    extra: List[float] = []

    def load(_):
        with _watched(extra):
            restore(_found(run, comm, checkpoints), module, run, comm)

    seconds = interleave(comm, dict(load=load), arguments["runs"], lambda number: (number,), "load")
    folder, _ = _found(run, comm, checkpoints)
    return dict(
        num_classes=config.num_classes,
        ranks=comm.world_size,
        megabytes=sum(os.path.getsize(path) for path in glob.glob(os.path.join(folder, "*"))) / _MB,
        rows_mb=2 * 4 * module.head.bank.num_local * config.embedding_size / _MB,
        extra_mb=max(comm.all_gather_object(max(extra))),
        **spread("load_seconds", seconds["load"]),
    )


@contextlib.contextmanager
def _watched(extra):
    """Append to a list how many MB more than at its beginning this process held in the block; mapped files not."""
    before, ended, held = resident("RssAnon"), threading.Event(), []

    def watch():
        while not ended.wait(0.002):
            held.append(resident("RssAnon"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        extra.append((max(held + [before]) - before) * 2**20 / _MB)


def measure(comm: Communicator, arguments: Dict[str, Any]) -> Dict[str, Any]:
    """What `measure` names."""
    progress(comm, f"{arguments['num_classes']:,} classes, {comm.world_size} ranks: {arguments['measure']}")
    return dict(save=measure_save, load=measure_load)[arguments["measure"]](comm, arguments)


if __name__ == "__main__":
    work(connect(), measure)
