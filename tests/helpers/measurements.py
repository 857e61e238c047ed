"""What callbacks measure and write, and how TensorBoard reads it."""

import json
import subprocess
import sys

from partial_fc.training.callbacks import LossLog
from partial_fc.training.module import UpdateStats


def schedule(num_update):
    return 0.1 if num_update < 4 else 0.01, 1.0


class Board:
    """Keeps what is added."""

    def __init__(self):
        self.added = []

    def add(self, num_update, scalars):
        self.added += [(num_update, name, value) for name, value in scalars.items()]


class Ranks:
    """A communicator whose other rank waited as long as given."""

    def __init__(self, rank, other_waited):
        self.rank, self._other_waited = rank, other_waited

    def all_gather_object(self, value):
        return [value, self._other_waited]


def loss_log(folder, rank=0, frequent=4, max_update=10, board=None, other_waited=0.0):
    return LossLog(
        str(folder),
        schedule,
        frequent,
        max_update,
        global_batch_size=6,
        comm=Ranks(rank, other_waited),
        board=board or Board(),
    )


def reports(losses, seconds=0.5):
    return [UpdateStats(n, loss, n * seconds) for n, loss in enumerate(losses, start=1)]


READ = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]).Reload()
tags = events.Tags()["scalars"]
print(json.dumps({tag: [(scalar.step, scalar.value) for scalar in events.Scalars(tag)] for tag in tags}))
"""


def read_by_tensorboard(folder):
    # In a process of its own: beside mxboard, TensorBoard cannot be imported.
    return json.loads(subprocess.check_output([sys.executable, "-c", READ, str(folder)], stderr=subprocess.DEVNULL))
