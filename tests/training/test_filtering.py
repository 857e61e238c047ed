"""The number of filtered logits on its way from the head to what is logged and saved."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.data.batches import Batch
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.negatives import Negatives
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.training.module import FaceModule, UpdateStats
from partial_fc.training.run_state import RunState

from helpers.models import network_without_statistics
from helpers.shards import Shards

NUM_CLASSES, EMBEDDING_SIZE, SIZE, UPDATES = 31, 16, 16, 3


def filtered(negatives, world_size):
    """What callbacks see on each rank, and what each rank's head has counted."""
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (12, SIZE, SIZE, 3)).astype(np.uint8)
    labels = random.randint(0, NUM_CLASSES, 12)

    def train(comm):
        bank = MemoryBank(NUM_CLASSES, EMBEDDING_SIZE, comm, seed=3)
        head = PartialFC(bank, MarginSoftmax(32, m2=0.3), CenterSGD(), comm, negatives=negatives)
        module = FaceModule(network_without_statistics(), head, comm, mx.cpu(), 12 // world_size, SIZE)
        own = np.split(np.arange(12), world_size)[comm.rank]
        seen, counted = [], []

        def callback(stats):
            seen.append(stats.filtered)
            counted.append(head.num_filtered and head.num_filtered.asscalar())

        batches = iter([Batch(images[own], labels[own], labels[own])] * UPDATES)
        module.fit(batches, lambda _: (0.01, 0.01), UPDATES, [callback])
        return seen, counted

    return Shards(world_size).run(train)


def test_callbacks_see_the_number_of_the_update():
    (one, counted), *_ = filtered(Negatives(0.2), 1)
    assert one == counted and all(type(each) is float and each > 0 for each in one) and len(one) == UPDATES
    for other, _ in filtered(Negatives(0.2), 3):
        assert other[0] == one[0]  # later ones follow rounding
    assert filtered(None, 1) == [([None] * UPDATES,) * 2]


def test_runs_continue_with_it_and_without_it():
    for value in (None, 12.0):
        last = UpdateStats(1, 1.0, 1.0, filtered=value)
        assert RunState.from_json(RunState(last, last).to_json()).last == last
    saved = RunState(last, last).to_json()
    saved["last"]["filtered"] = "many"
    with pytest.raises(ValueError, match="not"):
        RunState.from_json(saved)
