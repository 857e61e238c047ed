import numpy as np
import pytest

from partial_fc.head.partition import Partition, partition


@pytest.mark.parametrize("num_classes, world_size", [(1, 1), (101, 2), (101, 3), (100, 3), (3, 5), (10**8, 64)])
def test_parts_cover_all_classes_once_and_differ_by_at_most_one(num_classes, world_size):
    parts = [partition(num_classes, world_size, rank) for rank in range(world_size)]
    assert parts[0].class_start == 0 and parts[-1].class_end == num_classes
    assert all(a.class_end == b.class_start for a, b in zip(parts, parts[1:]))
    sizes = {part.num_local for part in parts}
    assert max(sizes) - min(sizes) <= 1


def test_shard_labels():
    labels = np.array([0, 3, 4, 6, 7, 2**40], dtype=np.int64)
    assert Partition(4, 7).shard_labels(labels).tolist() == [-1, -1, 0, 2, -1, -1]


def test_neighbours_above_float32_stay_apart():
    labels = np.array([2**24, 2**24 + 1], dtype=np.int64)
    assert Partition(2**24, 2**24 + 2).shard_labels(labels).tolist() == [0, 1]


@pytest.mark.parametrize("arguments", [(0, 1, 0), (10, 2, 2), (10, 2, -1)])
def test_nonsense_is_refused(arguments):
    with pytest.raises(ValueError):
        partition(*arguments)
