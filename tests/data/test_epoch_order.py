import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np

from partial_fc.data.batches import BatchReader
from partial_fc.data.epoch_order import EpochOrder
from partial_fc.data.records.record_file import RecordFile

from helpers.faces import write_faces


def test_order_is_a_function_of_seed_and_epoch():
    order = EpochOrder(50, seed=1)
    epochs = [order.of(epoch) for epoch in (0, 1, 2, 0)]
    assert all(sorted(places) == list(range(50)) for places in epochs) and epochs[0].dtype == np.uint32
    assert np.array_equal(epochs[0], epochs[3]) and np.array_equal(epochs[1], EpochOrder(50, seed=1).of(1))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[0], EpochOrder(50, seed=2).of(0))


def slowly(drawn, draw=EpochOrder._draw):
    def draw_slowly(self, epoch):
        drawn.append(epoch)
        time.sleep(0.05)
        return draw(self, epoch)

    return draw_slowly


def test_threads_that_ask_at_the_same_time_share_an_order(monkeypatch):
    drawn = []
    monkeypatch.setattr(EpochOrder, "_draw", slowly(drawn))
    order, barrier = EpochOrder(50, seed=1), threading.Barrier(8)

    def ask(_):
        barrier.wait()
        return order.of(3)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(8)))
    assert drawn == [3] and all(places is found[0] for places in found)


def test_reader_draws_each_epoch_once_and_ahead(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(EpochOrder, "_draw", slowly(drawn))
    alone = SimpleNamespace(rank=0, world_size=1)
    reader = BatchReader(RecordFile(write_faces(tmp_path, 20, 8, 16)), 16, 4, alone, num_workers=6)
    batches = reader.batches()
    for number in range(3 * reader.updates_per_epoch):
        next(batches)
        if number == reader.updates_per_epoch - 8:  # six workers and what they have made are not at the end yet
            assert drawn == [0, 1]
    batches.close()
    assert drawn in ([0, 1, 2], [0, 1, 2, 3])
