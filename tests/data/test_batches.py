import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from partial_fc.data import epoch_order
from partial_fc.data.augmentation import Augmentation
from partial_fc.data.batches import Batch, BatchReader
from partial_fc.data.images.decoding import decode_image, encode_jpeg
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.records.record_writer import record_files, write_records
from partial_fc.errors import InputError

from helpers.faces import face, write_faces

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
    assert batch.end == other.end
    for array, expected in zip(batch[:3], other[:3]):
        assert array.dtype == expected.dtype and np.array_equal(array, expected)


def joined(slices):
    """The global batch of the ranks' batches."""
    assert len({part.end for part in slices}) == 1
    return Batch(*map(np.concatenate, list(zip(*slices))[:3]), slices[0].end)


def originals(records):
    """Decoded images by record number."""
    return {key: decode_image(records.read(key)[0], (SIZE, SIZE)) for key in records.keys.tolist()}


def at(reader, num_update):
    """Position of an update's batch, where none has been left out before."""
    epoch, batch = divmod(num_update, reader.updates_per_epoch)
    return epoch * len(reader.records.keys) + batch * reader.global_batch_size


def flips(records, reader, updates):
    """Whether each record is flipped in these updates, by number."""
    images, found = originals(records), {}
    for num_update in updates:
        batch = reader.read(at(reader, num_update))
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
        assert_same(joined(slices), whole)


@pytest.mark.parametrize("start", [0, 2, 3, 100])
def test_any_update_is_reached_directly(records, start):
    whole = reader(records)
    at_once = [whole.read(at(whole, start + n)) for n in range(3)]
    from_there = first(reader(records).batches(at(whole, start)), 3)
    for batch, expected in zip(from_there, at_once):
        assert_same(batch, expected)
    if start < 10:
        from_the_start = first(reader(records).batches(), start + 3)[start:]
        for batch, expected in zip(from_the_start, at_once):
            assert_same(batch, expected)


def records_from(position, count, last_batch, records, world_size=1):
    """Record numbers of global batches from a position on, and the positions after them."""
    ranks = [reader(records, world_size, rank, last_batch=last_batch) for rank in range(world_size)]
    batches = [joined(slices) for slices in zip(*(first(each.batches(position), count) for each in ranks))]
    return [batch.records.tolist() for batch in batches], [batch.end for batch in batches]


@pytest.mark.parametrize(
    "last_batch, ends", [("drop", [12, 24, 36, 54, 66, 78, 96]), ("pad", [12, 24, 36, 42, 54, 66, 78])]
)
def test_positions_count_all_images(last_batch, ends, records):
    whole, positions = records_from(0, 7, last_batch, records)
    assert positions == ends
    assert records_from(ends[1], 5, last_batch, records) == (whole[2:], ends[2:])
    assert records_from(ends[2], 4, last_batch, records, world_size=3) == (whole[3:], ends[3:])


def test_a_position_that_no_batch_of_this_size_ends_at(records):
    # Where a run goes on with another global batch: each image of the epoch once, from there on.
    order = sum(records_from(0, 3, "drop", records)[0], [])
    batches, ends = records_from(7, 2, "drop", records)
    assert sum(batches, []) == order[7:31] and ends == [19, 31]
    (last, following), ends = records_from(31, 2, "drop", records)  # 11 are left: dropped
    assert ends == [54, 66] and [last, following] == records_from(36, 2, "drop", records)[0]


@pytest.mark.parametrize("num_workers", [2, 4])
def test_number_of_workers_does_not_matter(records, num_workers):
    one = first(reader(records, num_workers=1).batches(), 7)
    for batch, expected in zip(first(reader(records, num_workers=num_workers).batches(), 7), one):
        assert_same(batch, expected)


def test_every_image_at_most_once_an_epoch(records):
    whole = reader(records)
    assert whole.updates_per_epoch == 3
    epochs = [np.concatenate([whole.read(at(whole, 3 * epoch + n)).records for n in range(3)]) for epoch in range(6)]
    for epoch in epochs:
        assert len(epoch) == len(set(epoch)) == 36 and set(epoch) <= set(records.keys)
    assert set(np.concatenate(epochs)) == set(records.keys)  # the rest is not always the same
    assert epochs[0].tolist() != epochs[1].tolist() and epochs[0].tolist() != sorted(epochs[0])


def test_epoch_that_divides_evenly_leaves_none_out(records):
    whole = BatchReader(records, SIZE, 14, SimpleNamespace(rank=0, world_size=1))
    epoch = np.concatenate([whole.read(at(whole, n)).records for n in range(whole.updates_per_epoch)])
    assert sorted(epoch) == records.keys.tolist()


def test_about_half_are_flipped(tmp_path):
    many = RecordFile(write_faces(tmp_path, 30, 8, SIZE))
    share = np.mean(list(flips(many, reader(many), range(20)).values()))
    assert 0.4 < share < 0.6


def test_flip_is_a_function_of_seed_epoch_and_image(records, monkeypatch):
    epoch_0, epoch_1 = flips(records, reader(records), range(3)), flips(records, reader(records), range(3, 6))
    with monkeypatch.context() as patch:  # another order: every image in another place
        patch.setattr(epoch_order, "generator", lambda seed, *purpose: np.random.default_rng(5))
        shuffled = flips(records, reader(records), range(3))
    both = set(epoch_0) & set(shuffled)
    assert list(epoch_0) != list(shuffled)
    assert len(both) > 20 and all(epoch_0[key] == shuffled[key] for key in both)
    both = set(epoch_0) & set(epoch_1)
    assert any(epoch_0[key] != epoch_1[key] for key in both)
    other_seed = flips(records, reader(records, seed=1), range(3))
    assert any(epoch_0[key] != other_seed[key] for key in set(epoch_0) & set(other_seed))


def test_augmentation_is_applied(records):
    plain = reader(records, augmentation=Augmentation(flip=False)).read(GLOBAL_BATCH_SIZE)
    gray = reader(records, augmentation=Augmentation(flip=False, cutout=4 * SIZE)).read(GLOBAL_BATCH_SIZE)
    assert np.array_equal(plain.records, gray.records)
    covered = (gray.images == 128).all(axis=(1, 2, 3))
    assert 0 < covered.sum() < len(covered)
    assert np.array_equal(gray.images[~covered], plain.images[~covered])


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_last_batch_is_filled_up_with_the_first_images(records, world_size):
    ranks = [reader(records, world_size, rank, last_batch="pad") for rank in range(world_size)]
    assert {each.updates_per_epoch for each in ranks} == {4}
    epoch = np.concatenate([each.read(at(each, n)).records for n in range(4) for each in ranks])
    assert sorted(epoch[:42]) == records.keys.tolist() and epoch[42:].tolist() == epoch[:6].tolist()
    second = np.concatenate([each.read(at(each, n)).records for n in range(4, 8) for each in ranks])
    assert sorted(second[:42]) == records.keys.tolist()
    few = BatchReader(records, SIZE, 100, SimpleNamespace(rank=0, world_size=1), last_batch="pad")
    assert np.bincount(few.read(0).records)[1:].tolist().count(3) == 100 - 84


def test_another_seed_is_another_order(records):
    assert reader(records, seed=0).read(0).records.tolist() != reader(records, seed=1).read(0).records.tolist()


def test_fewer_images_than_a_global_batch(records):
    BatchReader(records, SIZE, 14, SimpleNamespace(rank=0, world_size=3))
    with pytest.raises(InputError, match=r"train\.rec: 42 images do not fill a global batch of 3 x 15"):
        BatchReader(records, SIZE, 15, SimpleNamespace(rank=0, world_size=3))


def write_with(path, encoded):
    write_records(str(path), [[encode_jpeg(face(0, i, SIZE)) for i in range(3)] + [encoded]])
    return RecordFile(str(path))


@pytest.mark.parametrize(
    "encoded, reason",
    [(b"", ""), (b"no image", ""), (encode_jpeg(face(0, 9, 2 * SIZE)), "32x32")],
    ids=["empty", "garbage", "size"],
)
def test_image_that_cannot_be_used_is_an_input_error_naming_file_and_record(tmp_path, encoded, reason):
    damaged = write_with(tmp_path / "train.rec", encoded)
    batches = BatchReader(damaged, SIZE, 4, SimpleNamespace(rank=0, world_size=1)).batches()
    with pytest.raises(InputError, match=rf"train\.rec: record 4: .*{reason}"):
        next(batches)


@pytest.fixture
def damaged(tmp_path):
    """42 images of which 9 and 30 cannot be decoded and 17 has a label that is too large."""
    path = str(tmp_path / "train.rec")
    images = [[encode_jpeg(face(i, j, SIZE)) for j in range(IMAGES)] for i in range(IDENTITIES)]
    with record_files(path) as writer:
        for key, image in enumerate((image for identity in images for image in identity), start=1):
            label = 7 if key == 17 else (key - 1) // IMAGES
            writer.write_image(image[:100] if key in (9, 30) else image, label)
    return RecordFile(path)


BAD = {9, 17, 30}


def skipping(records, **arguments):
    return reader(records, num_classes=IDENTITIES, on_bad_record="skip", **arguments)


def test_bad_records_are_replaced_by_the_next_ones(damaged, records):
    skips = skipping(damaged, bad_record_share=1.0)
    assert skips.updates_per_epoch == 3
    for num_update in range(9):
        batch, plain = (each.read(at(each, num_update)) for each in (skips, reader(records)))
        order = skips._order.of(num_update // 3)
        for place, (key, intended) in enumerate(zip(batch.records, plain.records), start=num_update % 3 * 12):
            if intended in BAD:
                following = [k for k in damaged.keys[order[np.arange(place, place + 42) % 42]] if k not in BAD]
                assert key == following[0]
            else:
                assert key == intended
        assert batch.labels.tolist() == ((batch.records - 1) // IMAGES).tolist()
        images = originals(records)
        assert all(
            np.array_equal(image, images[key]) or np.array_equal(image, images[key][:, ::-1])
            for key, image in zip(batch.records.tolist(), batch.images)
        )
    assert skips.bad_records.keys == BAD


@pytest.mark.parametrize("world_size", [1, 2])
def test_skipping_does_not_depend_on_ranks_and_workers(damaged, world_size):
    whole = first(skipping(damaged, bad_record_share=1.0, num_workers=1).batches(), 6)
    ranks = [
        first(skipping(damaged, world_size=world_size, rank=rank, bad_record_share=1.0, num_workers=3).batches(), 6)
        for rank in range(world_size)
    ]
    for expected, slices in zip(whole, zip(*ranks)):
        assert_same(joined(slices), expected)


def test_too_many_bad_records_end_it(damaged):
    batches = skipping(damaged, bad_record_share=0.05).batches()  # 3 of 42 are more, 2 are not
    with pytest.raises(InputError, match=r"record (9|17|30)[ :].*more than the maximum share bad_record_share=0\.05"):
        first(batches, 9)
    assert len(first(skipping(damaged, bad_record_share=0.2).batches(), 9)) == 9


def batches_before_the_end(records, world_size, **arguments):
    """How many batches each rank gets until too many records are bad."""
    counts = []
    for rank in range(world_size):
        batches = reader(records, world_size, rank, on_bad_record="skip", **arguments).batches()
        counts.append(0)
        with pytest.raises(InputError, match="more than the maximum share"):
            for _ in itertools.islice(batches, 60):
                counts[-1] += 1
    return counts


def test_threads_do_not_decide_whether_too_many_are_bad(tmp_path):
    path, bad = str(tmp_path / "train.rec"), range(0, 240, 9)
    with record_files(path) as writer:
        for index in range(240):
            image = encode_jpeg(face(index % 10, index, SIZE))
            writer.write_image(image[:60] if index in bad else image, index % 10)
    records = RecordFile(path)
    ends = [batches_before_the_end(records, 2, num_workers=workers, bad_record_share=0.05) for workers in (1, 2, 8)]
    assert ends[0] == ends[1] == ends[2] and min(ends[0]) > 3
    enough = reader(records, 2, 0, on_bad_record="skip", bad_record_share=len(bad) / 240)
    assert len(first(enough.batches(), 60)) == 60  # the same ones again and again


def test_share_of_none(damaged):
    with pytest.raises(InputError, match="bad_record_share=0:"):
        first(skipping(damaged, bad_record_share=0).batches(), 4)


def test_nothing_but_bad_records(tmp_path):
    records = RecordFile(write_records_of(tmp_path, [b"no image"] * 4))
    with pytest.raises(InputError, match="train.rec: none of its records can be read|more than the maximum share"):
        BatchReader(
            records, SIZE, 2, SimpleNamespace(rank=0, world_size=1), on_bad_record="skip", bad_record_share=1.0
        ).read(0)


def write_records_of(folder, images):
    path = str(folder / "train.rec")
    write_records(path, [images])
    return path


def test_skipped_records_are_named_and_counted(damaged, caplog):
    first(skipping(damaged, bad_record_share=1.0).batches(), 12)
    reported = [record.getMessage() for record in caplog.records]
    named = {
        key
        for key in BAD
        if sum(f"train.rec: record {key} " in f"{line} " or f"record {key}:" in line for line in reported) == 1
    }
    assert named == BAD and reported[-1] == "skipped 3 bad records"


@pytest.mark.parametrize("label", [7, 10**9])
def test_label_beyond_the_classes_is_named(tmp_path, label):
    path = str(tmp_path / "train.rec")
    with record_files(path) as writer:
        for each in (0, label):
            writer.write_image(encode_jpeg(face(0, each % 10, SIZE)), each)
    alone = SimpleNamespace(rank=0, world_size=1)
    with pytest.raises(InputError, match=rf"record 2 has label {label}, outside \[0, 7\)"):
        BatchReader(RecordFile(path), SIZE, 2, alone, num_classes=7).read(0)
    assert sorted(BatchReader(RecordFile(path), SIZE, 2, alone).read(0).labels) == [0, label]
