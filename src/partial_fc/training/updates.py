"""The updates of a run that is ready to train, with all that happens between them, and its results."""

import contextlib
from typing import Any, Dict, List, Optional

from ..config import Run
from ..data.open import Reader
from ..distributed.communicator import Communicator
from ..distributed.lock import Lock
from ..distributed.signals import Signals
from .best_model import BestModel
from .callbacks import Callback, LossLog, Periodic, Sets, TensorBoard, Verification, pixel_accuracies, state_of
from .run_state import RunState
from .saving import Ended, Saver
from .start import Start
from .summary import leave_results


def train_updates(
    run: Run, start: Start, reader: Reader, sets: Sets, comm: Communicator, signals: Signals, lock: Lock
) -> Optional[Dict[str, Any]]:
    """Do the updates that are left, with the log, verifications and checkpoints; rank 0 leaves the results.

    Returns:
        the summary on rank 0, see `leave_results`; None on the others.

    Raises:
        CollectiveError: on every rank, for wrong images or labels, a loss that is not finite, or a failure to save.
        Stopped: on every rank, when the run was asked to end.
    """
    config, timeline, state = run.config, start.timeline, start.state
    pixels = pixel_accuracies(sets)
    with TensorBoard(run.models_root, comm.rank, state.last.num_update) as board:
        verification = Verification(start.module, sets, board, state.history, state.best)
        if not verification.complete:
            verification.measure(state.last.num_update)
        losses = LossLog(
            run.models_root,
            timeline.schedule,
            config.frequent,
            timeline.max_update,
            reader.global_batch_size,
            comm,
            board,
            state.first,
            state.last,
        )
        best = BestModel(run, comm, start.module, state.kept, start.checkpoint)

        def progress() -> RunState:
            return state_of(losses, verification, timeline, best.kept)

        def verify(num_update: int) -> None:
            best.consider(verification.measure(num_update), progress)

        saver = Saver(run, comm, start.module, start.checkpoints, signals, progress, lock, timeline.max_update, best)
        callbacks: List[Callback] = [losses, Periodic(verify, config.verbose, timeline.max_update), saver]
        with losses, contextlib.closing(reader.batches(state.last.position)) as batches, contextlib.suppress(Ended):
            best.check_goes_on()
            start.module.fit(batches, timeline.schedule, timeline.max_update, callbacks, state.last, saver.requests)
    # A later epoch reads them on other ranks.
    skipped = set().union(*comm.all_gather_object(sorted(map(int, reader.bad_records.keys))))
    if comm.rank:
        return None
    known = timeline.schedule, losses, pixels, verification, best
    return leave_results(run, comm.world_size, *known, start.module.precision, len(skipped))
