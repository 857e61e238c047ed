from types import SimpleNamespace

import numpy as np

from partial_fc.data.synthetic import SyntheticBatches


def reader(world_size=1, rank=0, seed=0, num_classes=100000000):
    return SyntheticBatches(num_classes, 16, 12 // world_size, SimpleNamespace(rank=rank, world_size=world_size), seed)


def test_labels_of_the_ranks_are_slices_of_the_global_batch():
    whole = reader().read(60).labels
    for world_size in (2, 3):
        parts = [reader(world_size, rank).read(60).labels for rank in range(world_size)]
        assert np.concatenate(parts).tolist() == whole.tolist()


def test_labels_are_uniform_whole_numbers_and_others_at_every_update():
    batches = reader(num_classes=10).batches()
    labels = [next(batches).labels for _ in range(500)]
    assert labels[0].dtype == np.int64 and labels[0].tolist() != labels[1].tolist()
    counts = np.bincount(np.concatenate(labels), minlength=10)
    assert len(counts) == 10 and np.abs(counts - 600).max() < 5 * np.sqrt(600)


def test_large_labels_are_not_rounded():
    labels = np.concatenate([reader().read(12 * n).labels for n in range(200)])
    assert (labels[labels > 2**24] % 2 == 1).mean() > 0.4  # float32 has no odd numbers there


def test_batches_start_anywhere():
    batches = reader().batches(84)
    assert next(batches).labels.tolist() == reader().read(84).labels.tolist()


def test_images():
    batch = reader().read(0)
    assert batch.images.shape == (12, 16, 16, 3) and batch.images.dtype == np.uint8
    assert batch.images.std() > 60 and not np.array_equal(batch.images, reader(seed=1).read(0).images)
