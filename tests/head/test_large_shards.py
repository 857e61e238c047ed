"""Shards of more than 2^24 classes (where float32 skips integers) and of more than 2^31 numbers."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.distributed.communicator import Communicator
from partial_fc.head import host_bank, memory_bank
from partial_fc.head.host_bank import HostBank
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC


def step(bank, labels, embeddings):
    """Loss and gradient of one step; margin and learning rate are large, so that every row moves."""
    head = PartialFC(bank, MarginSoftmax(32, m2=0.5), CenterSGD(), Communicator())
    loss, grad = head.step(mx.nd.array(embeddings), head.choose(labels, 0), lr=10)
    return loss.asnumpy(), grad.asnumpy()


@pytest.mark.parametrize(
    "make, num_classes, embedding_size",
    [(MemoryBank, 2**24 + 1000, 4), (HostBank, 2**24 + 1000, 4), (HostBank, 2**17 + 100, 2**14)],
)
def test_neighbours_stay_apart_and_the_right_rows_move(make, num_classes, embedding_size, monkeypatch):
    # All rows are zeros, which take no memory before they are touched.
    for module in (memory_bank, host_bank):
        monkeypatch.setattr(module, "fill_initial_centers", lambda *_: None)
    random = np.random.RandomState(0)
    first = num_classes - 99  # beyond 2^24 classes, or 2^31 numbers
    classes = np.array([5, first, first + 1, first + 2, num_classes - 2, num_classes - 1])
    labels = classes[[0, 1, 2, 2, 3, 4, 5, 5]]
    embeddings = random.randn(len(labels), embedding_size).astype(np.float32)
    values, momentum = (random.randn(len(classes), embedding_size).astype(np.float32) for _ in range(2))

    large = make(num_classes, embedding_size, Communicator(), sample_ratio=1e-9)  # positives only
    for position, number in enumerate(classes):
        large.set(number, values[position : position + 1], momentum[position : position + 1])
    small = MemoryBank(len(classes), embedding_size, Communicator())
    small.set(0, values, momentum)

    result = step(large, labels, embeddings)
    expected = step(small, np.searchsorted(classes, labels), embeddings)
    assert all(np.array_equal(*pair) for pair in zip(result, expected))
    for array, small_array, before in zip(large.to_numpy(), small.to_numpy(), (values, momentum)):
        assert np.array_equal(array[classes], small_array) and (small_array != before).any(axis=1).all()
        neighbours = np.setdiff1d(np.concatenate([classes + offset for offset in (-2, -1, 1, 2)]), classes)
        assert not array[neighbours[neighbours < num_classes]].any()
