"""What is logged, measured and kept while training runs."""

import csv
import datetime
import glob
import logging
import os
import socket
import struct
import time

from mxboard.proto.event_pb2 import Event, SessionLog
from mxboard.record_writer import masked_crc32c
from mxboard.summary import scalar_summary
from tqdm import tqdm

from ..eval.protocols.verification import verify
from ..files import atomic_path
from ..output.log import AppendedFile
from ..output.printable import escaped
from .module import START

log = logging.getLogger("partial_fc")

_WORTH_LOGGING = 0.05  # share of the time
_COLUMNS = ["num_update", "loss"]  # of losses.csv


class TensorBoard:
    """Scalars for TensorBoard, in an event file of rank 0, which replaces those of earlier runs.

    When a run continues, earlier event files stay, and TensorBoard discards what they say of later updates.

    It is written without mxboard's `SummaryWriter`, whose thread dies when the disk is full and leaves the program
    waiting: a file of numbers that cannot be written is no reason to end a training, see `AppendedFile`.

    Args:
        folder: of the event file.
        rank: of this process.
        num_update: from which the run continues; 0: it starts.

    Raises:
        OSError: if the file cannot be opened at the start; later that is reported in the log.
    """

    def __init__(self, folder, rank, num_update=0):
        self._file = None
        if rank == 0:
            for path in [] if num_update else glob.glob(os.path.join(glob.escape(folder), "events.out.tfevents.*")):
                os.remove(path)
            now = time.time()
            path = os.path.join(folder, f"events.out.tfevents.{now:.0f}.{socket.gethostname()}")
            self._file = AppendedFile(path, _framed(Event(wall_time=now, file_version="brain.Event:2")))
            start = SessionLog(status=SessionLog.START)
            self._file.write(_framed(Event(wall_time=now, step=num_update + 1, session_log=start)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._file:
            self._file.close()

    def add(self, num_update, scalars):
        """Write floats by name."""
        if self._file:
            summaries = (scalar_summary(escaped(name), value) for name, value in scalars.items())
            events = (Event(wall_time=time.time(), step=num_update, summary=summary) for summary in summaries)
            self._file.write(b"".join(map(_framed, events)))


def _framed(event):
    """An event as TensorBoard reads it from a file: its length and a checksum of that, then itself and a checksum."""
    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    return b"".join(
        [length, struct.pack("<I", masked_crc32c(length)), content, struct.pack("<I", masked_crc32c(content))]
    )


class LossLog:
    """Writes every loss to `losses.csv`, and every `frequent` updates a line of the log and scalars, on rank 0.

    The line also says if ranks waited for images for a good part of the time, and which of them waited longest.
    `losses.csv` has the columns `num_update` and `loss`, with all digits of a float32; when a run continues, the rows
    up to there are kept.

    Args:
        config: of the run.
        schedule: function from the update to the learning rates of backbone and centers.
        global_batch_size: images per update.
        comm: communicator.
        board: TensorBoard.
        first, last: UpdateStats of the run that this one continues.

    Attributes:
        path: of `losses.csv`.
        first, last: the first UpdateStats, of the run that this one continues if there is one, and the last.
    """

    def __init__(self, config, schedule, global_batch_size, comm, board, first=None, last=START):
        self.path = os.path.join(config.models_root, "losses.csv") if comm.rank == 0 else os.devnull
        if comm.rank == 0:
            _begin_losses(self.path, last.num_update)
        self._file = AppendedFile(self.path, _row(_COLUMNS))
        self._schedule, self._frequent, self._max_update = schedule, config.frequent, config.max_update
        self._global_batch_size, self._board = global_batch_size, board
        self.first, self.last = first, last
        self._comm, self._logged = comm, last  # at the last line of the log
        self._own_first = None  # UpdateStats
        # disable=None: a bar on a terminal only
        disable = None if comm.rank == 0 else True
        self._bar = tqdm(total=config.max_update, initial=last.num_update, unit="update", disable=disable, leave=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()
        self._file.close()

    def __call__(self, report):
        self.first, self.last, self._own_first = self.first or report, report, self._own_first or report
        logs = report.num_update % self._frequent == 0 or report.num_update == self._max_update
        self._file.write(_row([report.num_update, f"{report.loss:.9g}"]))
        self._bar.update()
        if logs:
            self._log(report)

    @property
    def images_per_second(self):
        """Over all updates of this process but the first, which sets up MXNet's and Horovod's buffers."""
        first = self._own_first or self.last
        updates, seconds = self.last.num_update - first.num_update, self.last.seconds - first.seconds
        return self._global_batch_size * updates / seconds if updates else 0.0

    def _log(self, report):
        before, self._logged = self._logged, report
        seconds = report.seconds - before.seconds
        seconds_per_update = seconds / (report.num_update - before.num_update)
        left = datetime.timedelta(seconds=round(seconds_per_update * (self._max_update - report.num_update)))
        rate, lr = self._global_batch_size / seconds_per_update, self._schedule(report.num_update - 1)[0]
        wait = self._wait(report.waited - before.waited, seconds)
        log.info(
            "update %d/%d  loss %.4f  lr %g  %.0f images/s  %s left%s",
            report.num_update,
            self._max_update,
            report.loss,
            lr,
            rate,
            left,
            wait,
        )
        self._board.add(report.num_update, {"loss": report.loss, "lr": lr, "images_per_second": rate})

    def _wait(self, waited, seconds):
        """What the log says about the seconds that the ranks waited for images; nothing if that is little."""
        waits = self._comm.all_gather_object(waited)
        share = max(waits) / seconds
        if share < _WORTH_LOGGING:
            return ""
        return f"  rank {waits.index(max(waits))} waited for images {share:.0%} of the time: try --set num_workers=N"


def _begin_losses(path, num_update):
    """A `losses.csv` with its head, and with the rows of an earlier one up to an update."""
    kept = []
    if num_update and os.path.isfile(path):
        with open(path, newline="") as file:
            # The last line may not have been written in full.
            kept = [row for row in csv.reader(file) if len(row) == 2 and row[0].isdigit() and int(row[0]) <= num_update]
    with atomic_path(path) as unfinished, open(unfinished, "w", newline="") as file:
        csv.writer(file).writerows([_COLUMNS, *kept])


def _row(cells):
    """A row of `losses.csv`, bytes."""
    return (",".join(map(str, cells)) + "\r\n").encode()


class Periodic:
    """Calls a function every so many updates and after the last one.

    Args:
        action: function of the number of updates done.
        interval: updates between two calls.
        max_update: updates of the run.
    """

    def __init__(self, action, interval, max_update):
        self._action, self._interval, self._max_update = action, interval, max_update

    def __call__(self, report):
        if report.num_update % self._interval == 0 or report.num_update == self._max_update:
            self._action(report.num_update)


class Verification:
    """Measures the accuracy on verification sets, on all ranks together.

    Args:
        module: FaceModule.
        sets: by name, decoded images (2P, H, W, 3) and issame (P,).
        board: TensorBoard.
        history, best: of the run that this one continues.

    Attributes:
        history: list of (num_update, {name: accuracy}).
        best: by name, (accuracy, num_update) of the highest accuracy, of the first one if there are several.
    """

    def __init__(self, module, sets, board, history=(), best=()):
        self._module, self._sets, self._board = module, sets, board
        self.history, self.best = list(history), dict(best)

    def measure(self, num_update):
        """Accuracy on each set, by name; also the next entry of the history."""
        self._module.average_statistics()
        batch_size = 2 * self._module.batch_size * self._module.comm.world_size
        accuracies = {}
        for name, (images, issame) in self._sets.items():
            result = verify(self._module.embed, images, issame, batch_size=batch_size)
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
