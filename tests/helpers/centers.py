"""Banks of random centers, and their files."""

from types import SimpleNamespace

import numpy as np

from partial_fc.checkpoint.center_files import save_centers
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD

NUM_CLASSES, EMBEDDING_SIZE = 31, 8


def bank(world_size, rank, num_classes=NUM_CLASSES, embedding_size=EMBEDDING_SIZE, **arguments):
    return MemoryBank(num_classes, embedding_size, SimpleNamespace(rank=rank, world_size=world_size), **arguments)


def banks(world_size, **arguments):
    return [bank(world_size, rank, **arguments) for rank in range(world_size)]


def joined(shards):
    """Centers and momentum of all ranks."""
    return [
        np.concatenate([getattr(each, name).asnumpy() for each in shards if each.num_local])
        for name in ("weight", "weight_mom")
    ]


def save(folder, world_size, num_classes=NUM_CLASSES, states=CenterSGD.states):
    """Files of random centers and state of the optimizer; returns them."""
    random = np.random.RandomState(0)
    values = [random.randn(num_classes, EMBEDDING_SIZE).astype(np.float32) for _ in ("weight", *states)]
    for each in banks(world_size, num_classes=num_classes, states=states):
        each.set(each.partition.class_start, *(value[slice(*each.partition)] for value in values))
        save_centers(str(folder), each, world_size)
    return values
