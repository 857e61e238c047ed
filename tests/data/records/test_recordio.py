import io
import os
import struct

import mxnet as mx
import numpy as np
import pytest

from partial_fc.data.records.record_file import EXACT, RecordFile
from partial_fc.data.records.record_writer import record_files
from partial_fc.data.records.recordio import MAGIC, read_record, write_record
from partial_fc.errors import InputError

from helpers.cases import for_each

WORD = struct.pack("<I", MAGIC)
CONTENTS = {
    "short": b"abc",
    "empty": b"",
    "magic": WORD,
    "twice": WORD * 2 + b"x",
    "apart": b"1234" + WORD + b"56789" + WORD,
    "beside": b"1" + WORD,
    "end": b"12345678" + WORD,
    "long": os.urandom(100000),
    "many": (WORD + b"12345678") * 3000,
}
every_content = for_each("content", CONTENTS.values())
LABELS = [3.0, [1.0, 2.0], [float(number) for number in range(50)]]


@pytest.mark.parametrize("label", LABELS, ids=["one", "two", "many"])
@every_content
def test_bytes_are_those_of_mxnet(tmp_path, content, label):
    theirs = mx.recordio.MXRecordIO(str(tmp_path / "theirs"), "w")
    flag = 0 if isinstance(label, float) else len(label)
    theirs.write(mx.recordio.pack(mx.recordio.IRHeader(flag, label, 11, 12), content))
    theirs.close()
    ours = io.BytesIO()
    length = write_record(ours, label, 11, 12, content)
    assert ours.getvalue() == (tmp_path / "theirs").read_bytes() and len(ours.getvalue()) == length


@pytest.mark.parametrize("before", [0, 8])
@every_content
def test_what_is_written_is_read(tmp_path, content, before):
    path = tmp_path / "records"
    with open(path, "wb") as file:
        file.write(bytes(before))
        length = write_record(file, [5.0, 6.0], 2**40, 2**63, content)
        write_record(file, 1.0, 0, 0, b"next")
    with open(path, "rb") as file:
        record = read_record(file.fileno(), before)
        assert (record.label.tolist(), record.id, record.id2, record.content) == ([5.0, 6.0], 2**40, 2**63, content)
        assert record.end == before + length and read_record(file.fileno(), record.end).content == b"next"


@pytest.mark.parametrize("name", ["short", "magic", "apart", "long"])
def test_any_shorter_file_is_an_error(tmp_path, name):
    file = io.BytesIO()
    write_record(file, 0.0, 1, 0, CONTENTS[name])
    whole = file.getvalue().rstrip(b"\0")
    for length in list(range(0, min(len(whole), 64))) + [len(whole) - 1]:
        (tmp_path / "records").write_bytes(whole[:length])
        with open(tmp_path / "records", "rb") as file, pytest.raises(ValueError):
            read_record(file.fileno(), 0)


def test_damaged_lengths_ask_for_no_memory(tmp_path):
    (tmp_path / "records").write_bytes(struct.pack("<II", MAGIC, 2**29 - 1) + bytes(100))
    with open(tmp_path / "records", "rb") as file, pytest.raises(ValueError, match="ends within"):
        read_record(file.fileno(), 0)
    (tmp_path / "records").write_bytes(struct.pack("<IIIfQQ", MAGIC, 24, 2**30, 0, 0, 0))
    with open(tmp_path / "records", "rb") as file, pytest.raises(ValueError, match="announces 1073741824 floats"):
        read_record(file.fileno(), 0)


@pytest.mark.parametrize("label", [0, EXACT - 1, EXACT, EXACT + 1, 10**8 + 1, 2**31 + 3])
def test_labels_are_exact(tmp_path, label):
    path = str(tmp_path / "train.rec")
    with record_files(path) as writer:
        writer.write_image(b"image", label)
    records = RecordFile(path)
    assert records.read(1) == (b"image", label) and records.labels().tolist() == [label]
    header, _ = mx.recordio.unpack(mx.recordio.MXIndexedRecordIO(records.index_path, path, "r").read_idx(1))
    assert header.label == np.float32(label)  # what others read


def test_label_rounded_by_another_writer_is_an_error(tmp_path):
    path = str(tmp_path / "train.rec")
    file = mx.recordio.MXIndexedRecordIO(path[:-4] + ".idx", path, "w")
    file.write_idx(0, mx.recordio.pack(mx.recordio.IRHeader(0, float(EXACT), 0, 0), b"image"))
    file.close()
    for read in (RecordFile(path).labels, lambda: RecordFile(path).read(0)):
        with pytest.raises(InputError, match="record 0 has label 16777216, stored as float32"):
            read()


@pytest.mark.parametrize(
    "images, identities",
    [(EXACT - 1, 3), (EXACT, 3), (EXACT + 2, 2), (EXACT + 3, 4), (EXACT + 6, 7), (17091657, 360232), (2**25 + 5, 9)],
)
def test_rounded_ranges_are_put_right(tmp_path, images, identities, monkeypatch):
    """A file of that many images, of which only the few are there that are asked for."""
    path = str(tmp_path / "train.rec")
    with open(path, "wb") as file, open(path[:-4] + ".idx", "wb"):
        image = write_record(file, 0.0, 1, 0, b"image")
        write_record(file, [1.0, 2.0], 2, 0, b"")
        zero = file.tell()
        write_record(file, np.float32([images + 1, images + 1 + identities]), 0, 0, b"")
    table = np.zeros(images + 1 + identities, np.int64)
    table[images + 1 :] = image
    table[0] = zero
    monkeypatch.setattr("partial_fc.data.records.record_file.read_index", lambda *_: table)
    records = RecordFile(path)
    assert records.ranges == range(images + 1, images + 1 + identities) and len(records.keys) == images
