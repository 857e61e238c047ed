import struct

import pytest

from partial_fc.report.scalars import Series, read_scalars
from partial_fc.training.callbacks import TensorBoard


def write(folder, start, updates, monkeypatch=None, now=None):
    if now is not None:
        monkeypatch.setattr("time.time", lambda: now)
    with TensorBoard(str(folder), 0, start) as board:
        for update in updates:
            board.add(update, {"loss": update / 8, "lr": 0.5})


def test_what_training_writes_is_read_back(tmp_path):
    write(tmp_path, 0, (1, 2, 10))
    assert read_scalars(str(tmp_path)) == {
        "loss": Series([1, 2, 10], [0.125, 0.25, 1.25]),
        "lr": Series([1, 2, 10], [0.5, 0.5, 0.5]),
    }


def test_a_run_that_continues_discards_what_came_after_its_checkpoint(tmp_path, monkeypatch):
    write(tmp_path, 0, (10, 20, 30), monkeypatch, 100.0)
    write(tmp_path, 20, (30, 40), monkeypatch, 200.0)
    assert read_scalars(str(tmp_path))["lr"].updates == [10, 20, 30, 40]
    write(tmp_path, 5, (6,), monkeypatch, 300.0)
    assert read_scalars(str(tmp_path))["lr"].updates == [6]


def test_no_event_files(tmp_path):
    assert read_scalars(str(tmp_path)) == {}


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_the_last_event_may_be_written_in_part(tmp_path, cut, caplog):
    write(tmp_path, 0, (1, 2))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_scalars(str(tmp_path))["lr"].updates == [1] and not caplog.records


@pytest.mark.parametrize("place", [-2, -20, -38])
def test_a_file_counts_up_to_its_first_damaged_event(tmp_path, place, caplog):
    write(tmp_path, 0, (1, 2))
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)
    found = read_scalars(str(tmp_path))
    assert found["lr"].updates == [1] and found["loss"].updates == [1, 2]
    assert f"{path}: damaged at byte" in caplog.text


def test_a_length_beyond_all_bounds_takes_no_memory(tmp_path, caplog):
    from mxboard.record_writer import masked_crc32c

    length = struct.pack("<Q", 2**62)
    (tmp_path / "events.out.tfevents.1").write_bytes(length + struct.pack("<I", masked_crc32c(length)) + b"x" * 100)
    assert read_scalars(str(tmp_path)) == {} and "damaged" in caplog.text
