"""What is logged, measured and kept while training runs."""

import contextlib
import csv
import datetime
import glob
import logging
import os
import time

from mxboard.event_file_writer import EventsWriter
from mxboard.proto.event_pb2 import Event, SessionLog
from mxboard.summary import scalar_summary
from tqdm import tqdm

from .eval.verification import verify
from .files import atomic_path
from .module import START

log = logging.getLogger("partial_fc")

_WORTH_LOGGING = 0.05  # share of the time


@contextlib.contextmanager
def _full_disk_is_logged(path):
    """A file of numbers that cannot be written is no reason to end a training; the next checkpoint may be."""
    try:
        yield
    except OSError as error:
        log.error("NOT WRITTEN, the training continues: %s: %s", path, error.strerror or error)


class TensorBoard:
    """Scalars for TensorBoard, in an event file of rank 0, which replaces those of earlier runs.

    When a run continues, earlier event files stay, and TensorBoard discards what they say of later updates.

    mxboard's `SummaryWriter` is not used: its thread dies when the disk is full, and the program waits for it for ever.

    Args:
        folder: of the event file.
        rank: of this process.
        num_update: from which the run continues; 0: it starts.

    Raises:
        OSError: if the file cannot be written at the start; later this is logged.
    """

    def __init__(self, folder, rank, num_update=0):
        self._writer = None
        if rank == 0:
            for path in [] if num_update else glob.glob(os.path.join(glob.escape(folder), "events.out.tfevents.*")):
                os.remove(path)
            self._writer = EventsWriter(os.path.join(folder, "events"), verbose=False)
            try:
                self._writer.init_with_suffix("")
            except ValueError as error:  # how mxboard says that it cannot open a file
                raise OSError(str(error)) from error
            start = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(wall_time=time.time(), step=num_update + 1, session_log=start))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._writer:
            with _full_disk_is_logged("TensorBoard"):
                self._writer.close()

    def _reopen_if_removed(self):
        path = self._writer._filename
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._writer.close()  # the next event opens another file

    def add(self, num_update, scalars):
        """Write floats by name."""
        if self._writer:
            with _full_disk_is_logged("TensorBoard"):
                self._reopen_if_removed()
                for name, value in scalars.items():
                    summary = scalar_summary(name, value)
                    self._writer.write_event(Event(wall_time=time.time(), step=num_update, summary=summary))
                self._writer.flush()


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
        first, last: Reports of the run that this one continues.

    Attributes:
        path: of `losses.csv`.
        first, last: the first Report, of the run that this one continues if there is one, and the last.
    """

    def __init__(self, config, schedule, global_batch_size, comm, board, first=None, last=START):
        self.path = os.path.join(config.models_root, "losses.csv") if comm.rank == 0 else os.devnull
        if comm.rank == 0:
            _begin_losses(self.path, last.num_update)
        self._open("")
        self._schedule, self._frequent, self._max_update = schedule, config.frequent, config.max_update
        self._global_batch_size, self._board = global_batch_size, board
        self.first, self.last = first, last
        self._comm, self._logged = comm, last  # at the last line of the log
        self._own_first = None  # Report
        # disable=None: a bar on a terminal only
        disable = None if comm.rank == 0 else True
        self._bar = tqdm(
            total=config.max_update, initial=last.num_update, unit="update", disable=disable, leave=False
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()
        with _full_disk_is_logged(self.path):
            self._restore_if_removed()
            self._file.close()

    def __call__(self, report):
        self.first, self.last, self._own_first = self.first or report, report, self._own_first or report
        logs = report.num_update % self._frequent == 0 or report.num_update == self._max_update
        with _full_disk_is_logged(self.path):  # what is not written yet is tried again
            self._writer.writerow([report.num_update, f"{report.loss:.9g}"])
            if logs:
                self._restore_if_removed()
                self._file.flush()
        self._bar.update()
        if logs:
            self._log(report)

    def _open(self, text):
        self._file = open(self.path, "a+", newline="")
        self._file.write(text)
        self._writer = csv.writer(self._file)

    def _restore_if_removed(self):
        """Write all rows anew if the file was removed, with its folder or without."""
        if os.path.exists(self.path):
            return
        removed = self._file
        removed.seek(0)
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self._open(removed.read())
        removed.close()

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
            report.num_update, self._max_update, report.loss, lr, rate, left, wait,
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
        csv.writer(file).writerows([["num_update", "loss"], *kept])


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
                num_update, name, result.accuracy, result.accuracy_std, *self.best[name],
            )
        self._board.add(num_update, {"accuracy/" + name: accuracy for name, accuracy in accuracies.items()})
        self.history.append((num_update, accuracies))
        return accuracies
