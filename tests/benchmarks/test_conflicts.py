"""What is planted, and how precision and recall are counted."""

import json
import os
import sys

import cv2
import pytest

from benchmarks import conflicts, conflicts_time
from benchmarks.conflicts import measured
from benchmarks.planted import add_noise, identities, share_classes, split_classes

from helpers.faces import face


@pytest.fixture
def folder(tmp_path):
    """40 identities of 10 images."""
    for person in range(40):
        (tmp_path / "train" / f"p{person}").mkdir(parents=True)
        for image in range(10):
            cv2.imwrite(str(tmp_path / "train" / f"p{person}" / f"p{person}_{image}.png"), face(person, image, 20))
    return str(tmp_path / "train")


def test_measured():
    values = {"a": 0.9, "b": 0.7, "c": 0.5}
    cases = measured("x", values, {"a", "c", "d"}, [0.5, 0.8, 0.95])
    assert [case["listed"] for case in cases] == [3, 1, 0]
    assert [case["precision"] for case in cases] == [2 / 3, 1, None]
    assert [case["recall"] for case in cases] == [2 / 3, 1 / 3, 0]
    assert measured("x", {"a": -0.2}, {"a"}, [-0.3])[0] == dict(
        what="x", limit=0.3, planted=1, listed=1, precision=1, recall=1
    )
    header, rows = conflicts.table([dict(case, task="t") for case in cases])
    assert rows == [["t", "x", "3", "0.5: 67%, 67%", "0.8: 100%, 33%", "0.95: -, 0%"]] and len(header) == len(rows[0])


def test_split_classes(folder):
    split_classes(folder)
    found = identities(folder)
    assert len(found) == 80 and found["p3@2"] == [f"p3_{image}.png" for image in range(1, 10, 2)]


def test_share_classes(folder, tmp_path):
    shared = share_classes(folder, str(tmp_path / "a"), str(tmp_path / "b"))
    first, second = identities(str(tmp_path / "a")), identities(str(tmp_path / "b"))
    assert len(shared) == 14 and len(first) == 13 + 14 and len(second) == 13 + 14
    assert all(len(first[name]) == len(second[name]) == 5 for name in shared)
    assert sum(map(len, first.values())) + sum(map(len, second.values())) == 400


def test_add_noise(folder):
    before = {name: read(folder, person, name) for person, names in identities(folder).items() for name in names}
    noise = add_noise(folder)
    after = identities(folder)
    records = [(person, name) for person, names in after.items() for name in names]
    assert noise.images == len(records) == 420 and len(after) == 38 and len(noise.joined) == 2
    assert len(noise.copied) == 20 and 15 <= len(noise.flipped) <= 20
    labels = list(after)
    for number, (person, name) in enumerate(records, start=1):
        original = name.rpartition("-")[2]
        moved = original.partition("_")[0] != person and labels.index(person) not in noise.joined
        assert (number in noise.flipped) == moved, name
        assert (number in noise.copied) == (name[:5] == "copy-")
        assert (read(folder, person, name) == before[original]) == (number not in noise.copied)


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


def test_the_memory_of_a_case_is_its_own():
    large, small = (
        conflicts_time.use_of([sys.executable, "-c", f"bytearray({size} * 2**20)"])["memory_mib"] for size in (700, 1)
    )
    assert small < 600 < 700 < large


def test_time_is_measured_and_estimated(tmp_path, capsys):
    path = tmp_path / "time.json"
    arguments = ["--sizes", "300", "700", "--size", "16", "--workers", "2", f"--json={path}", f"--folder={tmp_path}"]
    assert conflicts_time.main(arguments) == 0
    cases = json.loads(path.read_text())["cases"]
    assert [case["classes"] for case in cases] == [300, 700]
    assert all(0 < case["planted"] == case["found"] <= case["listed"] for case in cases)
    lines = capsys.readouterr().out.splitlines()
    assert "10,000,000 (estimate)" in lines[-1] and len(lines) == 5
    assert os.listdir(tmp_path) == ["time.json"]
