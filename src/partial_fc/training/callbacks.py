"""Callbacks of training: the log of losses, TensorBoard, verification."""

import csv
import datetime
import glob
import logging
import os
import socket
import struct
import time
from types import MappingProxyType
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from mxboard.proto.event_pb2 import Event, SessionLog
from mxboard.record_writer import masked_crc32c
from mxboard.summary import scalar_summary
from tqdm import tqdm

from ..distributed.communicator import Communicator
from ..errors import CollectiveError
from ..eval.protocols.verification import NotFinite, pixel_embeddings, verify
from ..eval.protocols.verification_sets import find_verification_sets, open_verification_set
from ..files import atomic_path
from ..output.log import AppendedFile
from ..output.printable import escaped
from .module import FaceModule
from .run_state import Kept, RunState
from .schedules import Done, Schedule, Timeline
from .update_stats import START, UpdateStats

# What is called after every update.
Callback = Callable[[UpdateStats], Any]

log = logging.getLogger("partial_fc")

_WORTH_LOGGING = 0.05  # share of the time
_COLUMNS = ["num_update", "loss"]  # of losses.csv
# Scalars that only some runs have, as lines of the log show them.
_MORE = {
    "gradient_norm": "  gradient norm %.4g",
    "filtered": "  filtered %.0f",
    "loss_scale": "  loss scale %g",
    "skipped_updates": "  skipped %d",
}

# Verification sets by name: images, uint8 RGB (2P, H, W, 3), and issame, bool (P,).
Sets = Mapping[str, Tuple[np.ndarray, np.ndarray]]


class TensorBoard:
    """Scalars for TensorBoard, in an event file of rank 0, which replaces those of earlier runs.

    When a run continues, earlier event files stay, and TensorBoard discards their scalars of later updates.

    mxboard's `SummaryWriter` is not used: its thread dies when the disk is full, and the program hangs. A full disk is
    no reason to end a training, see `AppendedFile`.

    Args:
        folder: of the event file.
        rank: of this process.
        num_update: from which the run continues; 0 for a new run.

    Raises:
        OSError: if the file cannot be opened at the start; later errors are logged.
    """

    def __init__(self, folder: str, rank: int, num_update: int = 0):
        self._file: Optional[AppendedFile] = None
        if rank == 0:
            for path in [] if num_update else glob.glob(os.path.join(glob.escape(folder), "events.out.tfevents.*")):
                os.remove(path)
            now = time.time()
            path = os.path.join(folder, f"events.out.tfevents.{now:.0f}.{socket.gethostname()}")
            self._file = AppendedFile(path, _framed(Event(wall_time=now, file_version="brain.Event:2")))
            start = SessionLog(status=SessionLog.START)
            self._file.write(_framed(Event(wall_time=now, step=num_update + 1, session_log=start)))

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, num_update: int, scalars: Mapping[str, float]) -> None:
        """Write scalars, by name."""
        if self._file:
            summaries = (scalar_summary(escaped(name), value) for name, value in scalars.items())
            events = (Event(wall_time=time.time(), step=num_update, summary=summary) for summary in summaries)
            self._file.write(b"".join(map(_framed, events)))


def _framed(event: Event) -> bytes:
    """An event in TensorBoard's file format: length, checksum of the length, event, checksum of the event."""
    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    return b"".join(
        [length, struct.pack("<I", masked_crc32c(length)), content, struct.pack("<I", masked_crc32c(content))]
    )


class LossLog:
    """Writes every loss to `losses.csv`, and every `frequent` updates a line of the log and scalars, on rank 0.

    If ranks waited for images for 5 % of the time or more, the line names the rank that waited longest. `losses.csv`
    has the columns `num_update` and `loss`, with all digits of a float32; a run that continues keeps the earlier rows.

    Args:
        folder: of `losses.csv`.
        schedule: of the learning rates.
        frequent: updates between two lines of the log.
        max_update: updates of the run.
        global_batch_size: images per update.
        comm: communicator.
        board: TensorBoard.
        first, last: UpdateStats of the run that this one continues.

    Attributes:
        path: of `losses.csv`.
        first, last: UpdateStats of the first update, in the run that this one continues if there is one, and the last.
        continued_from: update that the run continues from; 0 for a new run.
    """

    def __init__(
        self,
        folder: str,
        schedule: Schedule,
        frequent: int,
        max_update: int,
        global_batch_size: int,
        comm: Communicator,
        board: TensorBoard,
        first: Optional[UpdateStats] = None,
        last: UpdateStats = START,
    ):
        self.path = os.path.join(folder, "losses.csv") if comm.rank == 0 else os.devnull
        if comm.rank == 0:
            _begin_losses(self.path, last.num_update)
        self._file = AppendedFile(self.path, _row(_COLUMNS))
        self._schedule, self._frequent, self._max_update = schedule, frequent, max_update
        self._global_batch_size, self._board = global_batch_size, board
        self.first, self.last, self.continued_from = first, last, last.num_update
        self._comm, self._logged = comm, last  # at the last line of the log
        self._own_first: Optional[UpdateStats] = None
        # disable=None: a bar on a terminal only
        disable = None if comm.rank == 0 else True
        self._bar = tqdm(total=max_update, initial=last.num_update, unit="update", disable=disable, leave=False)

    def __enter__(self) -> "LossLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self._file.close()

    def __call__(self, stats: UpdateStats) -> None:
        self.first, self.last, self._own_first = self.first or stats, stats, self._own_first or stats
        logs = stats.num_update % self._frequent == 0 or stats.num_update == self._max_update
        self._file.write(_row([stats.num_update, f"{stats.loss:.9g}"]))
        self._bar.update()
        if logs:
            self._log(stats)

    @property
    def images_per_second(self) -> float:
        """Over all updates of this process except the first, which sets up MXNet's and Horovod's buffers."""
        first = self._own_first or self.last
        updates, seconds = self.last.num_update - first.num_update, self.last.seconds - first.seconds
        return self._global_batch_size * updates / seconds if updates else 0.0

    def _log(self, stats: UpdateStats) -> None:
        before, self._logged = self._logged, stats
        if self._own_first and before.num_update < self._own_first.num_update < stats.num_update:
            before = self._own_first  # the first update sets up buffers: it says nothing about the time left
        seconds = stats.seconds - before.seconds
        seconds_per_update = seconds / (stats.num_update - before.num_update)
        left = datetime.timedelta(seconds=round(seconds_per_update * (self._max_update - stats.num_update)))
        rate, lr = self._global_batch_size / seconds_per_update, self._schedule(stats.num_update - 1)[0]
        wait, more = self._wait(stats.waited - before.waited, seconds), _more(stats)
        log.info(
            "update %d/%d  loss %.4f%s  lr %g  %.0f images/s  %s left%s",
            stats.num_update,
            self._max_update,
            stats.loss,
            "".join(_MORE[name] % value for name, value in more.items()),
            lr,
            rate,
            left,
            wait,
        )
        self._board.add(stats.num_update, {"loss": stats.loss, "lr": lr, "images_per_second": rate, **more})

    def _wait(self, waited: float, seconds: float) -> str:
        """The end of a line: which rank waited longest for images; empty if none waited long."""
        waits = self._comm.all_gather_object(waited)
        share = max(waits) / seconds
        if share < _WORTH_LOGGING:
            return ""
        return f"  rank {waits.index(max(waits))} waited for images {share:.0%} of the time: try --set num_workers=N"


def _more(stats: UpdateStats) -> Dict[str, float]:
    """What only some runs have, by the names of `_MORE`."""
    scale = stats.loss_scale or {}
    more = stats.grad_norm, stats.filtered, scale.get("scale"), scale.get("skipped")
    return {name: value for name, value in zip(_MORE, more) if value is not None}


def _begin_losses(path: str, num_update: int) -> None:
    """Write a `losses.csv` with its head, and with the rows of an earlier one up to an update."""
    kept: List[List[str]] = []
    if num_update and os.path.isfile(path):
        with open(path, newline="") as file:
            # The last line may not have been written in full.
            kept = [row for row in csv.reader(file) if len(row) == 2 and row[0].isdigit() and int(row[0]) <= num_update]
    with atomic_path(path) as unfinished, open(unfinished, "w", newline="") as file:
        csv.writer(file).writerows([_COLUMNS, *kept])


def _row(cells: Iterable[object]) -> bytes:
    """A row of `losses.csv`."""
    return (",".join(map(str, cells)) + "\r\n").encode()


class Periodic:
    """Calls a function at an interval of updates, and after the last one.

    Args:
        action: function of the number of updates done.
        interval: updates between two calls.
        max_update: updates of the run.
    """

    def __init__(self, action: Callable[[int], object], interval: int, max_update: int):
        self._action, self._interval, self._max_update = action, interval, max_update

    def __call__(self, stats: UpdateStats) -> None:
        if stats.num_update % self._interval == 0 or stats.num_update == self._max_update:
            self._action(stats.num_update)


class Verification:
    """Measures the accuracy on verification sets, on all ranks together.

    Args:
        module: FaceModule.
        sets: see `Sets`.
        board: TensorBoard.
        history, best: of the run that this one continues.

    Attributes:
        history: list of (num_update, {name: accuracy}).
        best: by name, highest accuracy and the first update that reached it.
    """

    def __init__(
        self,
        module: FaceModule,
        sets: Sets,
        board: TensorBoard,
        history: Sequence[Tuple[int, Dict[str, float]]] = (),
        best: Mapping[str, Tuple[float, int]] = MappingProxyType({}),
    ):
        self._module, self._sets, self._board = module, sets, board
        self.history, self.best = list(history), dict(best)

    @property
    def complete(self) -> bool:
        """Whether each set was measured at least once."""
        return bool(self.history) and set(self._sets) <= set(self.best)

    def measure(self, num_update: int) -> Dict[str, float]:
        """Measure the accuracy on each set, by name, and append it to the history.

        Deep networks that were not trained yet may give embeddings that are not finite, since their batch
        normalizations have no statistics. They have no accuracy then.

        Raises:
            CollectiveError: on every rank, if embeddings are not finite after the first update.
        """
        self._module.average_statistics()
        batch_size = 2 * self._module.batch_size * self._module.comm.world_size
        accuracies = {}
        for name, (images, issame) in self._sets.items():
            try:
                result = verify(self._module.embed, images, issame, batch_size=batch_size)
            except NotFinite as error:
                if num_update:
                    raise CollectiveError(f"update {num_update}, {name}: {error}; try a smaller backbone_lr") from error
                log.info("update 0  %s: no accuracy, as embeddings of this untrained network are not finite", name)
                continue
            accuracies[name] = result.accuracy
            if name not in self.best or result.accuracy > self.best[name][0]:
                self.best[name] = result.accuracy, num_update
            log.info(
                "update %d  %s: accuracy %.4f +- %.4f, best %.4f at update %d",
                num_update,
                name,
                result.accuracy,
                result.accuracy_std,
                *self.best[name],
            )
        self._board.add(num_update, {"accuracy/" + name: accuracy for name, accuracy in accuracies.items()})
        self.history.append((num_update, accuracies))
        return accuracies


def open_sets(folder: str, names: Sequence[str], image_size: int) -> Sets:
    """The verification sets NAME.bin of a folder; raises InputError for one that is missing or cannot be used."""
    paths = find_verification_sets(folder, names)
    return {name: open_verification_set(path, image_size) for name, path in paths.items()}


def pixel_accuracies(sets: Sets) -> Dict[str, float]:
    """Accuracy on each set of embeddings that are the pixels themselves: what a model should exceed."""
    return {name: verify(pixel_embeddings, *pairs).accuracy for name, pairs in sets.items()}


def state_of(losses: LossLog, verification: Verification, timeline: Timeline, kept: Optional[Kept]) -> RunState:
    """The RunState so far, as a checkpoint records it."""
    num_update = losses.last.num_update
    done = Done(num_update, timeline.images(num_update), timeline.done.unit)
    return RunState(losses.first, losses.last, verification.history, verification.best, done, kept)
