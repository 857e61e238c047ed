import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from partial_fc.data import batches as batches_module
from partial_fc.data.batches import BatchReader
from partial_fc.data.image import decode_image, encode_jpeg
from partial_fc.data.record_writer import write_records
from partial_fc.data.records import RecordFile
from partial_fc.errors import InputError

from faces import face, write_faces

SIZE, IDENTITIES, IMAGES = 16, 7, 6  # 42 images: three global batches of 12 and a rest of 6
GLOBAL_BATCH_SIZE = 12


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return RecordFile(write_faces(tmp_path_factory.mktemp("faces"), IDENTITIES, IMAGES, SIZE))


def reader(records, world_size=1, rank=0, **arguments):
    comm = SimpleNamespace(rank=rank, world_size=world_size)
    return BatchReader(records, SIZE, GLOBAL_BATCH_SIZE // world_size, comm, **arguments)


def first(batches, count):
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def assert_same(batch, other):
    for array, expected in zip(batch, other):
        assert array.dtype == expected.dtype and np.array_equal(array, expected)


def originals(records):
    """Decoded images by record number."""
    return {key: decode_image(records.read(key)[0], (SIZE, SIZE)) for key in records.keys.tolist()}


def flips(records, reader, updates):
    """Whether each record is flipped in these updates, by number."""
    images, found = originals(records), {}
    for num_update in updates:
        batch = reader.read(num_update)
        for key, image in zip(batch.records.tolist(), batch.images):
            flipped = np.array_equal(image, images[key][:, ::-1])
            assert flipped or np.array_equal(image, images[key])
            found[key] = flipped
    return found


def test_batch(records):
    batch = reader(records).read(0)
    assert batch.images.shape == (GLOBAL_BATCH_SIZE, SIZE, SIZE, 3) and batch.images.dtype == np.uint8
    assert batch.labels.dtype == batch.records.dtype == np.int64
    assert batch.labels.tolist() == [records.read(key)[1] for key in batch.records]
    assert batch.labels.tolist() == ((batch.records - 1) // IMAGES).tolist()


@pytest.mark.parametrize("world_size", [2, 3])
def test_slices_of_the_ranks_are_the_global_batch(records, world_size):
    ranks = [first(reader(records, world_size, rank).batches(), 7) for rank in range(world_size)]
    for whole, slices in zip(first(reader(records).batches(), 7), zip(*ranks)):
        assert_same([np.concatenate(arrays) for arrays in zip(*slices)], whole)


@pytest.mark.parametrize("start", [0, 2, 3, 100])
def test_any_update_is_reached_directly(records, start):
    at_once = [reader(records).read(start + n) for n in range(3)]
    from_there = first(reader(records).batches(start), 3)
    for batch, expected in zip(from_there, at_once):
        assert_same(batch, expected)
    if start < 10:
        from_the_start = first(reader(records).batches(), start + 3)[start:]
        for batch, expected in zip(from_the_start, at_once):
            assert_same(batch, expected)


@pytest.mark.parametrize("num_workers", [2, 4])
def test_number_of_workers_does_not_matter(records, num_workers):
    one = first(reader(records, num_workers=1).batches(), 7)
    for batch, expected in zip(first(reader(records, num_workers=num_workers).batches(), 7), one):
        assert_same(batch, expected)


def test_every_image_at_most_once_an_epoch(records):
    whole = reader(records)
    assert whole.updates_per_epoch == 3
    epochs = [np.concatenate([whole.read(3 * epoch + n).records for n in range(3)]) for epoch in range(6)]
    for epoch in epochs:
        assert len(epoch) == len(set(epoch)) == 36 and set(epoch) <= set(records.keys)
    assert set(np.concatenate(epochs)) == set(records.keys)  # the rest is not always the same
    assert epochs[0].tolist() != epochs[1].tolist() and epochs[0].tolist() != sorted(epochs[0])


def test_epoch_that_divides_evenly_leaves_none_out(records):
    whole = BatchReader(records, SIZE, 14, SimpleNamespace(rank=0, world_size=1))
    epoch = np.concatenate([whole.read(n).records for n in range(whole.updates_per_epoch)])
    assert sorted(epoch) == records.keys.tolist()


def test_about_half_are_flipped(tmp_path):
    many = RecordFile(write_faces(tmp_path, 30, 8, SIZE))
    share = np.mean(list(flips(many, reader(many), range(20)).values()))
    assert 0.4 < share < 0.6


def test_flip_is_a_function_of_seed_epoch_and_image(records, monkeypatch):
    epoch_0, epoch_1 = flips(records, reader(records), range(3)), flips(records, reader(records), range(3, 6))
    draw = batches_module.generator
    with monkeypatch.context() as patch:  # another order: every image in another place
        patch.setattr(batches_module, "generator",
                      lambda seed, purpose, *indices: draw(seed + (purpose == "order"), purpose, *indices))
        shuffled = flips(records, reader(records), range(3))
    both = set(epoch_0) & set(shuffled)
    assert len(both) > 20 and all(epoch_0[key] == shuffled[key] for key in both)
    both = set(epoch_0) & set(epoch_1)
    assert any(epoch_0[key] != epoch_1[key] for key in both)
    other_seed = flips(records, reader(records, seed=1), range(3))
    assert any(epoch_0[key] != other_seed[key] for key in set(epoch_0) & set(other_seed))


def test_another_seed_is_another_order(records):
    assert reader(records, seed=0).read(0).records.tolist() != reader(records, seed=1).read(0).records.tolist()


def test_fewer_images_than_a_global_batch(records):
    BatchReader(records, SIZE, 14, SimpleNamespace(rank=0, world_size=3))
    with pytest.raises(InputError, match=r"train\.rec: 42 images do not fill a global batch of 3 x 15"):
        BatchReader(records, SIZE, 15, SimpleNamespace(rank=0, world_size=3))


def write_with(path, encoded):
    write_records(str(path), [[encode_jpeg(face(0, i, SIZE)) for i in range(3)] + [encoded]])
    return RecordFile(str(path))


@pytest.mark.parametrize("encoded, reason", [
    (b"", ""),
    (b"no image", ""),
    (encode_jpeg(face(0, 9, 2 * SIZE)), "32x32"),
], ids=["empty", "garbage", "size"])
def test_image_that_cannot_be_used_is_an_input_error_naming_file_and_record(tmp_path, encoded, reason):
    damaged = write_with(tmp_path / "train.rec", encoded)
    batches = BatchReader(damaged, SIZE, 4, SimpleNamespace(rank=0, world_size=1)).batches()
    with pytest.raises(InputError, match=rf"train\.rec: record 4: .*{reason}"):
        next(batches)
