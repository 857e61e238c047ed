import os
import struct
from concurrent.futures import ThreadPoolExecutor

import mxnet as mx
import numpy as np
import pytest

from partial_fc.data.records.bad_records import BadRecords
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.records.record_writer import write_records
from partial_fc.data.records.recordio import write_record
from partial_fc.errors import InputError

# Contents that hold the magic number of record files, nothing, and lengths that are no multiples of 4.
IDENTITIES = [[b"first", struct.pack("<I", 0xCED7230A) * 3], [b"third image"], [b"4", b"", b"sixth" * 1000]]
LABELS = [0, 0, 1, 2, 2, 2]
IMAGES = [image for images in IDENTITIES for image in images]


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "train.rec")
    assert write_records(path, IDENTITIES) == 6
    return path


def write_plain(folder, labels, first=1, content=b"image %d"):
    """A record file of images without record 0's range, as im2rec writes it."""
    path = str(folder / "plain.rec")
    file = mx.recordio.MXIndexedRecordIO(path[:-4] + ".idx", path, "w")
    for key, label in enumerate(labels, start=first):
        file.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, label, key, 0), content % key if content else b""))
    file.close()
    return path


def rewrite(path, content):
    with open(path, "wb") as file:
        file.write(content)


def test_what_is_written_is_read(path):
    records = RecordFile(path)
    assert records.keys.dtype == np.int64 and records.keys.tolist() == [1, 2, 3, 4, 5, 6]
    assert records.num_identities == 3
    read = [records.read(key) for key in records.keys]
    assert read == list(zip(IMAGES, LABELS))
    assert all(type(image) is bytes and type(label) is int for image, label in read)
    assert records.read(5) == (b"", 2)  # in any order


def test_form_is_what_readers_of_insightface_expect(path):
    assert sorted(os.listdir(os.path.dirname(path))) == ["train.idx", "train.rec"]
    file = mx.recordio.MXIndexedRecordIO(path[:-4] + ".idx", path, "r")
    assert sorted(file.keys) == list(range(10))
    header0, content = mx.recordio.unpack(file.read_idx(0))
    assert header0.flag == 2 and header0.label.tolist() == [7, 10] and content == b""
    ranges = []
    for number in range(7, 10):
        header, content = mx.recordio.unpack(file.read_idx(number))
        assert header.flag == 2 and content == b""
        ranges.append(tuple(int(edge) for edge in header.label))
    assert ranges == [(1, 3), (3, 4), (4, 7)]
    for identity, (start, end) in enumerate(ranges):
        for key in range(start, end):
            header, content = mx.recordio.unpack(file.read_idx(key))
            assert header.flag == 0 and header.label == identity and header.id == key
            assert content == IMAGES[key - 1]


@pytest.mark.parametrize("first", [0, 1])
def test_plain_file_of_images(tmp_path, first):
    records = RecordFile(write_plain(tmp_path, [5.0, 3.0, 5.0], first))
    assert records.num_identities is None and records.keys.tolist() == [first, first + 1, first + 2]
    assert [records.read(key) for key in records.keys] == [
        (b"image %d" % key, label) for key, label in enumerate([5, 3, 5], start=first)
    ]


def test_first_number_of_a_label_array_is_the_identity(tmp_path):
    records = RecordFile(write_plain(tmp_path, [[7.0, 1.0], [9.0, 0.5, float("nan")], [4.0]]))
    assert [records.read(key)[1] for key in records.keys] == [7, 9, 4]
    assert records.labels().tolist() == [7, 9, 4]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("more", [[], [30.0], [30.0, 1.0], list(range(10))])
def test_record_with_an_image_is_an_image_however_long_its_label(tmp_path, first, more):
    """Identity and age, as im2rec packs them: 4 and 36 in record 0 look like a range of identities."""
    labels = [[4.0, 36.0, *more], *([float(number % 5), 20.0, *more] for number in range(39))]
    records = RecordFile(write_plain(tmp_path, labels, first))
    identities = [int(label[0]) for label in labels]
    assert records.ranges is None and records.keys.tolist() == list(range(first, first + 40))
    assert records.labels().tolist() == identities == [records.read(key)[1] for key in records.keys]


def test_label_array_that_is_longer_than_its_record(tmp_path):
    path = write_plain(tmp_path, [[4.0, 36.0], [3.0, 20.0]])
    with open(path, "rb+") as file:
        file.seek(8)  # how many numbers the first label has
        file.write(struct.pack("<I", 99))
    with pytest.raises(InputError, match="record 1 cannot be read: its header announces 99 floats"):
        RecordFile(path).labels()


@pytest.mark.parametrize("first", [0, 1])
def test_labels_of_objects_are_refused(tmp_path, first):
    label = [2.0, 5.0, 7.0, 0.1, 0.2, 0.3, 0.4, 8.0, 0.5, 0.5, 0.9, 0.9]
    path = write_plain(tmp_path, [label, label[:7], label], first)
    with pytest.raises(
        InputError, match=r"plain\.rec: its labels are for object detection .* of 2 numbers and 5 numbers per obj"
    ) as error:
        RecordFile(path)
    assert "array" not in str(error.value) and "[" not in str(error.value)


def test_gaps_and_order_of_the_index_do_not_matter(path):
    index = path[:-4] + ".idx"
    with open(index) as file:
        lines = [line for line in file if not line.startswith("3\t")]
    rewrite(index, "".join(lines[::-1]).encode())
    records = RecordFile(path)
    assert records.keys.tolist() == [1, 2, 4, 5, 6] and records.num_identities == 3
    assert records.read(4) == (b"4", 2)


@pytest.mark.parametrize("missing, hint", [(".rec", "--rec "), (".idx", "`partial-fc data index .*c` makes it")])
def test_missing_file_is_named(path, missing, hint):
    os.remove(path[:-4] + missing)
    with pytest.raises(InputError, match=rf"train\{missing}: no such file.*{hint}"):
        RecordFile(path)


@pytest.mark.parametrize("garbage", [b"not an index\n", b"\xff\xd8\xff\xe0\x00JFIF", b"1\tfar\n", b"1.5\t0\n", b"1\n"])
def test_garbage_in_the_index_is_named(path, garbage):
    rewrite(path[:-4] + ".idx", garbage)
    with pytest.raises(InputError, match=r"train\.idx: not an index"):
        RecordFile(path)


def test_truncated_file_names_the_record(tmp_path, path):
    with open(path, "rb") as file:
        content = file.read()
    rewrite(path, content[: len(content) // 2])  # record 0 is the last
    with pytest.raises(InputError, match=r"train\.rec: record 0 cannot be read: .* merge --on-bad-record skip"):
        RecordFile(path)
    rest = RecordFile(path, tolerant=True)
    assert rest.keys.tolist() == [1, 2, 3, 4, 5] and rest.num_identities is None and "record 0" in rest.problem
    plain = write_plain(tmp_path, [0.0, 1.0, 2.0])
    with open(plain, "rb") as file:
        content = file.read()
    rewrite(plain, content[:-8])
    records = RecordFile(plain)
    assert records.read(2) == (b"image 2", 1)
    with pytest.raises(InputError, match=r"plain\.rec: record 3 cannot be read: [^\n]+$"):
        records.read(3)


def test_misplaced_record_is_named(path):
    """The index has it behind the file's end."""
    with open(path[:-4] + ".idx") as file:
        lines = ["2\t1000000\n" if line.startswith("2\t") else line for line in file]
    rewrite(path[:-4] + ".idx", "".join(lines).encode())
    records = RecordFile(path)
    assert records.keys.tolist() == [1, 2, 3, 4, 5, 6] and records.num_identities == 3
    for read in (records.labels, lambda: records.read(2)):
        with pytest.raises(InputError, match=r"train\.rec: record 2 cannot be read: its position in the index is out"):
            read()
    bad = BadRecords("skip", 0.5, 6)
    assert records.labels(bad).tolist() == [0, -1, 1, 2, 2, 2] and bad.keys == {2}


def test_plain_file_whose_record_0_is_bad(tmp_path):
    path = write_plain(tmp_path, [5.0, 3.0, 4.0], first=0)
    with open(path, "rb+") as file:
        file.write(bytes(4))
    records = RecordFile(path)
    assert records.problem is None and records.keys.tolist() == [0, 1, 2] and records.read(2)[1] == 4


@pytest.mark.parametrize("length", [1, 3, 4, 8, 12, 15])
def test_short_files(tmp_path, length):
    path = str(tmp_path / "train.rec")
    rewrite(path, bytes(length))
    rewrite(path[:-4] + ".idx", b"1\t0\n")
    with pytest.raises(InputError, match="record 1 cannot be read"):
        RecordFile(path).labels()


def test_labels_beyond_64_bits(tmp_path):
    path = str(tmp_path / "train.rec")
    with open(path, "wb") as file:
        write_record(file, float(2**62), 1, 2**62, b"image")
        second = file.tell()
        write_record(file, float(2**63), 2, 2**63, b"image")
    rewrite(path[:-4] + ".idx", b"1\t0\n2\t%d\n" % second)
    records = RecordFile(path)
    assert records.read(1)[1] == 2**62
    for read in (records.labels, lambda: records.read(2)):
        with pytest.raises(InputError, match=f"record 2 has label {2**63}"):
            read()


def test_labels_of_a_file_that_is_overwritten(path):
    with open(path, "rb+") as file:
        file.seek(int(RecordFile(path).positions[3]))
        file.write(bytes(4))
    with pytest.raises(InputError, match=r"record 3 cannot be read: no record starts"):
        RecordFile(path).labels()


def test_positions_that_point_into_a_record_are_named(tmp_path):
    path = write_plain(tmp_path, [0.0, 1.0])
    rewrite(path[:-4] + ".idx", b"1\t0\n2\t4\n")
    records = RecordFile(path)
    with pytest.raises(InputError, match=r"plain\.rec: record 2 cannot be read: [^\n]+$"):
        records.read(2)
    assert records.read(1) == (b"image 1", 0)


def test_record_that_is_not_there_is_named(path):
    with pytest.raises(InputError, match=r"train\.rec: record 77 cannot be read"):
        RecordFile(path).read(77)


@pytest.mark.parametrize("label", [float("nan"), float("inf"), 1.5, [float("nan"), 1.0]])
def test_label_that_is_no_identity_is_named(tmp_path, label):
    records = RecordFile(write_plain(tmp_path, [0.0, label]))
    with pytest.raises(InputError, match=r"plain\.rec: record 2 has label .*not an identity"):
        records.read(2)


@pytest.mark.parametrize("label", [[float("nan"), 3.0], [1.0, float("inf")], [3.0], [1.0, 2.0, 3.0]])
def test_range_in_record_0_that_is_none_is_named(tmp_path, label):
    path = write_plain(tmp_path, [label, 0.0, 1.0], first=0, content=None)
    with pytest.raises(InputError, match=r"plain\.rec: record 0 has no image and (the numbers|a label)") as error:
        RecordFile(path)
    assert "[" not in str(error.value)


def test_empty_files_and_no_images(tmp_path):
    path = str(tmp_path / "train.rec")
    assert write_records(path, []) == 0
    with pytest.raises(InputError, match=r"train\.rec: no images"):
        RecordFile(path)
    rewrite(path, b"")
    with pytest.raises(InputError, match=r"train\.idx: gives byte 0 as the start of record 0"):
        RecordFile(path)
    rewrite(path[:-4] + ".idx", b"")
    with pytest.raises(InputError, match=r"train\.rec: no images"):
        RecordFile(path)


def failing_identities():
    yield [b"new"]
    raise OSError("disk full")


def test_failed_writing_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="disk full"):
        write_records(str(tmp_path / "train.rec"), failing_identities())
    assert os.listdir(tmp_path) == []


def test_failed_writing_leaves_the_old_files(path):
    with pytest.raises(OSError, match="disk full"):
        write_records(path, failing_identities())
    assert sorted(os.listdir(os.path.dirname(path))) == ["train.idx", "train.rec"]
    assert RecordFile(path).read(1) == (b"first", 0)


def test_threads_read_the_right_records(tmp_path):
    path = str(tmp_path / "train.rec")
    write_records(path, [[b"%d/%d" % (i, j) * (1 + (i * j) % 50) for j in range(10)] for i in range(50)])
    records = RecordFile(path)
    expected = {key: records.read(key) for key in records.keys.tolist()}
    keys = np.random.RandomState(0).permutation(np.tile(records.keys, 4)).tolist()
    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(records.read, keys))
    assert read == [expected[key] for key in keys]
