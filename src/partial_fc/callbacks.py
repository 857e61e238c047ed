"""What is told, measured and kept while training runs."""

import csv
import datetime
import logging
import os

from tqdm import tqdm

from .eval.verification import verify

log = logging.getLogger("partial_fc")


class LossLog:
    """Writes every loss to `losses.csv` and a line of the log every `frequent` updates, on rank 0.

    `losses.csv` has the columns `num_update` and `loss`, with all digits of a float32.

    Args:
        config: of the run.
        schedule: function from the update to the learning rates of backbone and centers.
        global_batch_size: images an update.
        rank: of this process.

    Attributes:
        first, last: the first and the last Report.
    """

    def __init__(self, config, schedule, global_batch_size, rank):
        path = os.path.join(config.models_root, "losses.csv") if rank == 0 else os.devnull
        self._file = open(path, "w", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(["num_update", "loss"])
        self._schedule, self._frequent, self._max_update = schedule, config.frequent, config.max_update
        self._global_batch_size = global_batch_size
        self._logged = (0, 0.0)  # updates and seconds at the last line
        self.first = self.last = None
        # disable=None: a bar on a terminal only
        self._bar = tqdm(total=config.max_update, unit="update", disable=None if rank == 0 else True, leave=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()
        self._file.close()

    def __call__(self, report):
        self.first, self.last = self.first or report, report
        self._writer.writerow([report.num_update, f"{report.loss:.9g}"])
        self._bar.update()
        if report.num_update % self._frequent == 0 or report.num_update == self._max_update:
            self._file.flush()
            self._log_line(report)

    @property
    def images_per_second(self):
        """Over all updates but the first, which sets up MXNet's and Horovod's buffers."""
        updates, seconds = self.last.num_update - 1, self.last.seconds - self.first.seconds
        return self._global_batch_size * updates / seconds if updates else 0.0

    def _log_line(self, report):
        num_update, seconds = self._logged
        self._logged = report.num_update, report.seconds
        seconds_per_update = (report.seconds - seconds) / (report.num_update - num_update)
        left = datetime.timedelta(seconds=round(seconds_per_update * (self._max_update - report.num_update)))
        log.info(
            "update %d/%d  loss %.4f  lr %g  %.0f images/s  %s left",
            report.num_update,
            self._max_update,
            report.loss,
            self._schedule(report.num_update - 1)[0],
            self._global_batch_size / seconds_per_update,
            left,
        )


class Verification:
    """Measures the accuracy on verification sets every `verbose` updates, on all ranks together.

    Args:
        module: FaceModule.
        sets: by name, decoded images (2P, H, W, 3) and issame (P,).
        verbose: updates between two measurements.
        max_update: updates of the run; the last one is always followed by a measurement.

    Attributes:
        history: list of (num_update, {name: accuracy}).
    """

    def __init__(self, module, sets, verbose, max_update):
        self._module, self._sets, self._verbose, self._max_update = module, sets, verbose, max_update
        self.history = []

    def __call__(self, report):
        if report.num_update % self._verbose == 0 or report.num_update == self._max_update:
            self.measure(report.num_update)

    def measure(self, num_update):
        """Accuracy on each set, by name; also the next entry of the history."""
        self._module.average_statistics()
        batch_size = 2 * self._module.batch_size * self._module.comm.world_size
        accuracies = {}
        for name, (images, issame) in self._sets.items():
            result = verify(self._module.embed, images, issame, batch_size=batch_size)
            log.info("update %d  %s: accuracy %.4f +- %.4f", num_update, name, result.accuracy, result.accuracy_std)
            accuracies[name] = result.accuracy
        self.history.append((num_update, accuracies))
        return accuracies
