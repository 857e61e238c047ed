from types import SimpleNamespace

import numpy as np
import pytest

from partial_fc.cli.data import main as commands
from partial_fc.data.batches import BatchReader
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records import index
from partial_fc.data.records.identity_ranges import empty_identities, identities_in_runs
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.records.record_writer import record_files, write_records
from partial_fc.data.records.recordio import EXACT, write_record

from helpers.faces import face, write_faces, write_runs


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
    (reported,) = [record.getMessage() for record in caplog.records]
    assert "train.rec: 1 of 3 identities have no images, the first is 1" in reported


UNSORTED = [label for _ in range(5) for label in (0, 1, 2, 3) for _ in range(2)]  # 20 runs of 4 people
BOTH_NUMBERS = "record 0 lists 20 identities, but the images have 4"


@pytest.mark.parametrize(
    "labels, found",
    [
        (UNSORTED, 4),
        ([0, 0, 1, 2, 0], 3),
        ([2, 0, 1, 0], 3),
        ([0, 1, 2], None),
        ([2, 2, 0, 1], None),
        ([7, 5], None),
        ([*range(500), 3], 500),
        ([0, 0], None),
    ],
)
def test_ranges_of_runs(tmp_path, labels, found):
    assert identities_in_runs(RecordFile(write_runs(tmp_path, labels))) == found


def test_sorted_files_and_plain_ones_have_no_runs(tmp_path, path):
    assert identities_in_runs(RecordFile(write_faces(tmp_path, 3, 2))) is None
    write_records(path, [[], [b"a", b"b"], [], [b"c"]])
    assert identities_in_runs(RecordFile(path)) is None
    with record_files(path) as writer:
        writer.write_image(b"a", 5)
    assert identities_in_runs(RecordFile(path)) is None


def test_both_numbers_are_reported_at_the_start_of_training(tmp_path, caplog):
    records = RecordFile(write_runs(tmp_path, UNSORTED))
    for rank in range(2):
        BatchReader(records, 32, 2, SimpleNamespace(rank=rank, world_size=2))
    (reported,) = [record.getMessage() for record in caplog.records]
    assert f"train.rec: {BOTH_NUMBERS}" in reported and "data merge" in reported


def test_info_and_check_tell_of_runs_and_merge_mends_them(tmp_path, capsys):
    write_runs(tmp_path, UNSORTED)
    source, out, shuffled = str(tmp_path), str(tmp_path / "out"), str(tmp_path / "shuffled")
    assert commands.main(["info", source]) == 0
    assert f"warning: {BOTH_NUMBERS}" in capsys.readouterr().out
    assert commands.main(["check", source]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"error: several ranges of an identity: 1: {BOTH_NUMBERS}" in lines[0] and lines[1:] == ["1 error"]
    assert commands.main(["merge", source, out]) == 0
    assert len(RecordFile(out + "/train.rec").ranges) == 4
    capsys.readouterr()
    assert commands.main(["check", out]) == 0
    assert capsys.readouterr().out == "OK: 40 images of 4 identities, 32x32 pixels\n"
    assert commands.main(["info", out]) == 0 and "warning" not in capsys.readouterr().out
    assert commands.main(["shuffle", source, shuffled]) == 0  # a plain file, whose property has the number
    assert RecordFile(shuffled + "/train.rec").num_identities == 4
