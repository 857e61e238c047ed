from types import SimpleNamespace

import numpy as np
import pytest

from partial_fc.data import index
from partial_fc.data.batches import BatchReader
from partial_fc.data.identity_ranges import empty_identities
from partial_fc.data.image import encode_jpeg
from partial_fc.data.record_writer import record_files, write_records
from partial_fc.data.recordio import EXACT, write_record
from partial_fc.data.records import RecordFile

from faces import face


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "train.rec")


def test_identities_without_images(path):
    write_records(path, [[], [b"a", b"b"], [], [], [b"c"]])
    assert empty_identities(RecordFile(path)).tolist() == [0, 2, 3]
    write_records(path, [[b"a"], [b"b"]])
    assert empty_identities(RecordFile(path)).tolist() == []
    with record_files(path) as writer:
        writer.write_image(b"a", 5)
    assert empty_identities(RecordFile(path)).tolist() == []


def test_unreadable_range_is_not_empty(path):
    write_records(path, [[b"a"], [], [b"b"]])
    position = int(RecordFile(path).positions[4])
    with open(path, "rb+") as file:
        file.seek(position)
        file.write(bytes(4))
    assert empty_identities(RecordFile(path)).tolist() == []


def test_rounded_ranges(path, monkeypatch):
    """Identities of one image whose range looks empty as float32, and one that is."""
    monkeypatch.setattr(index, "_NUMBERS_AT_LEAST", 2 * EXACT)
    first = EXACT + 100
    edges = [(first + 1, first + 2), (first + 2, first + 2), (first + 2, first + 3), (first + 3, first + 4)]
    images = [(first + 1, 0), (first + 2, 2), (first + 3, 3)]
    with open(path, "wb") as rec, open(path[:-4] + ".idx", "w") as lines:

        def write(number, label, content):
            lines.write(f"{number}\t{rec.tell()}\n")
            write_record(rec, label, number, 0, content)

        for key, label in images:
            write(key, float(label), b"image")
        for number, edge in enumerate(edges, start=first + 4):
            write(number, edge, b"")
        write(0, (first + 4, first + 8), b"")
    assert np.float32(first + 3) == np.float32(first + 4)
    records = RecordFile(path)
    assert records.ranges == range(first + 4, first + 8) and records.keys.tolist() == [key for key, _ in images]
    assert empty_identities(records).tolist() == [1]


def test_training_tells_how_many_once(path, caplog):
    write_records(path, [[encode_jpeg(face(0, 0, 16))] * 4, [], [encode_jpeg(face(1, 0, 16))] * 4])
    for rank in range(2):
        BatchReader(RecordFile(path), 16, 2, SimpleNamespace(rank=rank, world_size=2))
    told, = [record.getMessage() for record in caplog.records]
    assert "train.rec: 1 of 3 identities have no images, 1 is the first" in told
