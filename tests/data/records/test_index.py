import contextlib
import os

import mxnet as mx
import numpy as np
import pytest

from partial_fc.cli.data import main as commands
from partial_fc.data.records import index as index_module
from partial_fc.data.records.index import LACKING, MISPLACED, read_index, rebuild_index
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.records.record_writer import write_records
from partial_fc.data.records.recordio import write_record
from partial_fc.errors import InputError

from helpers.faces import write_faces, write_runs


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "train.idx"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.mark.parametrize("block", [2**24, 7])
def test_positions_by_number(write, monkeypatch, block):
    monkeypatch.setattr(index_module, "_BLOCK", block)
    path = write("2\t40\n4\t80\n1\t0\n0\t1048576\n")
    assert read_index(path, 2**21).tolist() == [1048576, 0, 40, -1, 80]
    assert read_index(write("1\t0\n3\t8"), 12).tolist() == [-1, 0, -1, 8]  # no line break at the end


def test_many_in_any_order(write, monkeypatch):
    monkeypatch.setattr(index_module, "_BLOCK", 1000)
    numbers = np.random.RandomState(0).permutation(5000)
    path = write("".join(f"{number}\t{4 * number}\n" for number in numbers))
    assert np.array_equal(read_index(path, 20000), 4 * np.arange(5000))


@pytest.mark.parametrize("position", [44, 2**40, -4, 6])
def test_misplaced_record_leaves_the_others(write, position):
    index = read_index(write(f"1\t0\n2\t{position}\n4\t8\n"), 44)
    assert index.tolist() == [LACKING, 0, MISPLACED, LACKING, 8]


def test_nothing(write):
    assert read_index(write(""), 0).tolist() == []


@pytest.mark.parametrize(
    "text, message",
    [
        ("1\t0\n2\t44\n3\t48\n", r"gives byte 44 as the start of record 2, .* \(2 of 3 lines"),
        ("1\t-4\n2\t0\n3\t6\n", "gives byte -4 as the start of record 1"),
        ("1\t0\n1\t4\n", "a record number appears twice"),
        ("-1\t0\n", "record number -1"),
        (f"{2**40}\t0\n", f"record number {2**40} among 1"),
        ("1 0\n", "not an index"),
        ("1\t0\n2\n", "not an index"),
        ("1\t0\n2\t4\t8\n3\n", "not an index"),
        ("1\t0\n\n2\t4\n", "not an index"),
        ("1\t0\n2\t0x4\n", "not an index"),
        ("1\t0.5\n", "not an index"),
        (f"1\t{2**70}\n", "."),
        (b"\x00\xff\t\n", "not an index"),
    ],
)
def test_damage_is_named(write, text, message):
    with pytest.raises(InputError, match=rf"train\.idx: .*{message}"):
        read_index(write(text), 44)


MAGIC = (0xCED7230A).to_bytes(4, "little")


def by_number(path):
    """Lines of an index, by record number."""
    return dict(line.split() for line in path.read_text().splitlines())


def write_ids(path, ids):
    """A record file whose headers have the numbers `ids`, without an index; returns its path."""
    with open(str(path), "wb") as file:
        for number in ids:
            write_record(file, float(number), number, 0, b"image %d" % number)
    return str(path)


def rebuild(path, **arguments):
    return rebuild_index(path, lambda total, what: contextlib.nullcontext(lambda count: None), **arguments)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: write_faces(folder, 5, 3),
        lambda folder: write_runs(folder, [0, 1, 0, 2, 2]),  # record 0 is not the last there either
        lambda folder: write_records(str(folder / "train.rec"), [[b"a" + MAGIC * 3, b""], [MAGIC, b"ccc"]]),
    ],
)
def test_missing_index_is_rebuilt(tmp_path, make):
    make(tmp_path)
    expected = by_number(tmp_path / "train.idx")
    os.remove(str(tmp_path / "train.idx"))
    assert commands.main(["index", str(tmp_path)]) == 0
    assert by_number(tmp_path / "train.idx") == expected
    assert RecordFile(str(tmp_path / "train.rec")).ranges is not None


def test_index_of_im2rec_is_rebuilt(tmp_path):
    """Numbers are those of its list, which may have gaps and any order; MXNet reads what is written."""
    path, index = str(tmp_path / "own.rec"), str(tmp_path / "own.idx")
    file = mx.recordio.MXIndexedRecordIO(index, path, "w")
    for key in (0, 5, 3, 9):
        file.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, [key, 30], key, 0), b"image %d" % key))
    file.close()
    expected = by_number(tmp_path / "own.idx")
    with pytest.raises(InputError, match="own.idx exists: --overwrite replaces it"):
        rebuild(path)
    assert rebuild(path, overwrite=True) == 4 and by_number(tmp_path / "own.idx") == expected
    header, image = mx.recordio.unpack(mx.recordio.MXIndexedRecordIO(index, path, "r").read_idx(5))
    assert header.label.tolist() == [5, 30] and image == b"image 5"


@pytest.mark.parametrize(
    "ids, why",
    [
        ([0, 0, 0], "3 records have the number 0"),
        ([1, 2, 1], "2 records have the number 1"),
        ([1, 2**62], f"a record has the number {2**62} in its header"),
        ([2**64 - 1], f"number {2**64 - 1}"),
    ],
)
def test_headers_that_do_not_number_records(tmp_path, caplog, ids, why):
    path = write_ids(tmp_path / "own.rec", ids)
    assert rebuild(path) == len(ids) and list(by_number(tmp_path / "own.idx")) == [str(n) for n in range(len(ids))]
    assert why in caplog.text and "numbering the records from 0" in caplog.text
    assert len(RecordFile(path).keys) == len(ids)


def test_ranges_of_records_without_numbers_cannot_be_rebuilt(tmp_path):
    path = str(tmp_path / "train.rec")
    with open(path, "wb") as file:
        for label, content in ((0.0, b"image"), (0.0, b"image"), ((1, 3), b""), ((3, 4), b"")):
            write_record(file, label, 0, 0, content)
    with pytest.raises(InputError, match="4 records have the number 0 .* ranges of identities"):
        rebuild(path)
    assert os.listdir(tmp_path) == ["train.rec"]


def test_damaged_records_are_left_out(tmp_path, caplog):
    path = write_ids(tmp_path / "own.rec", [1, 2, 3, 4])
    rebuild(path)
    positions = RecordFile(path).positions
    with open(path, "rb+") as file:
        file.seek(int(positions[2]))
        file.write(bytes(4))
        file.truncate(int(positions[4]) + 20)
    assert rebuild(path, overwrite=True) == 2
    assert [RecordFile(path).read(key) for key in (1, 3)] == [(b"image 1", 1), (b"image 3", 3)]
    assert f"bytes {positions[2]} to {positions[3] - 1} are not a record: skipped" in caplog.text


@pytest.mark.parametrize(
    "content, message", [(b"", "the file is empty"), (b"JPEG" * 100, "no record found"), (None, "no such file")]
)
def test_files_without_records(tmp_path, content, message, capsys):
    if content is not None:
        (tmp_path / "train.rec").write_bytes(content)
    assert commands.main(["index", str(tmp_path)]) == 2
    assert f"train.rec: {message}" in capsys.readouterr().err and not (tmp_path / "train.idx").exists()


def lines_of_another(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    return open(write_faces(other, 4, 4, 48)[:-4] + ".idx").read()


@pytest.mark.parametrize(
    "broken",
    [
        lambda tmp_path: "".join(f"{number}\t18446744073709551615\n" for number in range(20)),
        lambda tmp_path: "".join(f"{number}\t{number * 10**9}\n" for number in range(20)),
        lines_of_another,
        lambda tmp_path: "no index\n",
    ],
)
def test_index_of_another_file_or_damaged_names_its_mend(tmp_path, broken):
    path = write_faces(tmp_path, 8, 8)
    expected = by_number(tmp_path / "train.idx")
    (tmp_path / "train.idx").write_text(broken(tmp_path))
    with pytest.raises(InputError, match=r"train\.idx: .*; `partial-fc data index .*\.rec --overwrite` rebuilds"):
        RecordFile(path)
    assert commands.main(["index", path, "--overwrite"]) == 0
    assert by_number(tmp_path / "train.idx") == expected


@pytest.mark.parametrize("position", ["18446744073709551615", "48"])
def test_one_broken_position_names_the_mend(tmp_path, position):
    path = write_faces(tmp_path, 3, 3)
    positions = {**by_number(tmp_path / "train.idx"), "5": position}
    (tmp_path / "train.idx").write_text("".join(f"{number}\t{place}\n" for number, place in positions.items()))
    with pytest.raises(InputError, match=r"record 5 cannot be read: .*`partial-fc data index` rebuilds"):
        RecordFile(path).read(5)
