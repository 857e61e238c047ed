"""How a run starts: all ranks must have the same versions, settings and data; then the module is built and filled."""

from typing import Dict, NamedTuple

import mxnet as mx

from ..checkpoint.checkpoints import Checkpoints
from ..config import Config, Run, StartOptions
from ..data.batches import BatchReader
from ..data.open import Reader
from ..distributed.agreement import checksums, compare, settings
from ..distributed.communicator import Communicator
from ..planning.memory import busy_timeout
from .build import build
from .module import FaceModule
from .pretrained import check_same_centers, load_pretrained, read_pretrained
from .resume import find_checkpoint, restore
from .run_folder import run_files
from .run_state import RunState, images_per_update
from .schedules import Timeline
from .versions import versions


class Start(NamedTuple):
    """A run that is ready to train.

    Attributes:
        module: with its initial parameters and centers.
        state: of the run so far.
        checkpoints: of the models root.
        timeline: the schedule.
        checkpoint: folder of the checkpoint that the run continues from; empty for a new run.
    """

    module: FaceModule
    state: RunState
    checkpoints: Checkpoints
    timeline: Timeline
    checkpoint: str


def check_agreement(config: Config, options: StartOptions, comm: Communicator) -> None:
    """Raise CollectiveError on every rank if ranks have other versions of the libraries or another configuration."""
    compare("the version", versions(), comm)
    compare("the setting", settings({**config.to_dict(), **options._asdict()}), comm)


def check_same_data(config: Config, reader: Reader, comm: Communicator) -> None:
    """Raise CollectiveError on every rank if ranks have other records or verification sets."""
    files: Dict[str, str] = {}
    with comm.raise_on_all_ranks():
        if isinstance(reader, BatchReader):
            files = checksums(config, reader.records)
    compare("the checksum", files, comm)


def run_of(config: Config, models_root: str, reader: Reader) -> Run:
    """The Run of a configuration, with what its data have."""
    assert reader.num_classes  # `open_data` knows it
    num_images = len(reader.records.keys) if isinstance(reader, BatchReader) else 0
    return Run(config, models_root, reader.num_classes, num_images)


def start_module(run: Run, comm: Communicator, ctx: mx.Context) -> Start:
    """Build the module of a run, and fill it from a checkpoint, or for a new run from a model or centers, if any.

    Checkpoint, model and centers are found and checked before anything is built.

    Raises:
        CollectiveError: on every rank, for a checkpoint, model or centers that any of them cannot use; if the run does
            not fit into memory; for a schedule that is none.
    """
    batch = images_per_update(run.settings(), comm.world_size)
    with comm.raise_on_all_ranks():
        timeline = Timeline(run, batch)
    checkpoints = Checkpoints(run_files(run.models_root)["checkpoints"], comm, run.config.keep_checkpoints)
    with comm.busy("the start", busy_timeout(run, comm.world_size)):
        found = find_checkpoint(run, comm, checkpoints)
        if found:
            module = build(run, comm, ctx)
            state = restore(found, module, run, comm)
            return Start(module, state, checkpoints, Timeline(run, batch, state.done), found.path)
        with comm.raise_on_all_ranks():
            loaded = read_pretrained(run, comm.rank)
        if run.config.centers:
            check_same_centers(run.config.centers, comm)
        module = build(run, comm, ctx)
        load_pretrained(run, comm, module, loaded)
        return Start(module, RunState(), checkpoints, timeline, "")
