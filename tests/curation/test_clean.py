"""`partial-fc data clean`, against plain loops, and that `data merge` and `split` take its lists."""

import csv
import json
import os
import re

import cv2
import numpy as np
import pytest

from partial_fc.cli.data.main import main
from partial_fc.curation import identity
from partial_fc.curation.identity import angles_to_others, near_duplicates, two_groups
from partial_fc.data.records.data_set import DataSet

from helpers.faces import write_faces
from helpers.features import write_features

SIZE, IMAGES = 32, 8
MEANS = np.linalg.qr(np.random.RandomState(0).randn(SIZE, SIZE))[0]


def unit(count, seed=0, size=SIZE):
    vectors = np.random.RandomState(seed).randn(count, size)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_angles_to_the_mean_of_the_others(count):
    vectors = unit(count)
    expected = []
    for place in range(count):
        mean = np.delete(vectors.astype(float), place, axis=0).sum(axis=0)
        cosine = mean @ vectors[place] / np.linalg.norm(mean) if count > 1 else 1
        expected.append(np.degrees(np.arccos(cosine)))
    np.testing.assert_allclose(angles_to_others(vectors), expected, atol=1e-3)


@pytest.mark.parametrize("block", [5, 1024])
def test_near_duplicates_equal_plain_loops(block, monkeypatch):
    monkeypatch.setattr(identity, "_AT_ONCE", block)
    vectors = unit(150, size=3)
    expected = {}
    for place in range(len(vectors)):
        for other in range(place):
            if other not in expected and vectors[place] @ vectors[other] >= 0.95:
                expected[place] = other
                break
    copies, originals, cosines = near_duplicates(vectors, 0.95)
    assert 5 < len(expected) and dict(zip(copies.tolist(), originals.tolist())) == expected
    np.testing.assert_allclose(cosines, [vectors[a] @ vectors[b] for a, b in expected.items()], atol=1e-6)


def test_two_groups_are_found():
    for seed in range(20):
        random = np.random.RandomState(seed)
        which = random.permutation(np.arange(13) < 4)
        vectors = np.where(which[:, None], MEANS[0], MEANS[1]) + 0.05 * random.randn(13, SIZE)
        second, apart = two_groups((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))
        assert second.tolist() == np.flatnonzero(which).tolist() and abs(apart) < 0.2


def test_few_equal_or_single_images_are_no_two_groups():
    for vectors in (unit(3), np.tile(unit(1), (6, 1)), np.zeros((5, SIZE), np.float32)):
        assert len(two_groups(vectors)[0]) == 0
    vectors = np.tile(MEANS[0], (6, 1)).astype(np.float32)
    vectors[4] = MEANS[1]
    assert len(two_groups(vectors)[0]) == 0  # one image is no group


@pytest.fixture
def faces(tmp_path):
    """Six identities of eight images, from 1 on; 3 and 4 are equal, 12 is another person, 26 to 28 a third one."""
    (tmp_path / "faces").mkdir()
    write_faces(tmp_path / "faces", 6, IMAGES)
    (tmp_path / "faces" / "identities.txt").write_text("a\nb\n=c\n<d>\ne\nf\n")
    random = np.random.RandomState(1)

    def vector(key, label):
        person = {12: 20, 26: 21, 27: 21, 28: 21}.get(key, label)
        noise = np.random.RandomState(3 if key in (3, 4) else 100 + key).randn(SIZE)
        return random.uniform(1, 5) * (MEANS[person] + 0.08 * noise)

    write_features(tmp_path / "features.npy", tmp_path / "faces", vector)
    return tmp_path


def run(folder, *arguments):
    return main(["clean", str(folder / "faces"), str(folder / "features.npy"), *map(str, arguments)])


EXPECTED = [
    *(("3", str(key), "second group", "") for key in (26, 27, 28)),
    ("0", "4", "duplicate", "3"), ("1", "12", "far", ""),
]  # fmt: skip


def test_findings(faces, capsys):
    assert run(faces, f"--json={faces}/found.json", f"--csv={faces}/found.csv", "--angle", "80") == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[1:4]] == ["1", "1", "1"] and len(printed) == 7
    with open(faces / "found.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["record"], row["finding"], row["other"]) for row in rows] == EXPECTED
    assert rows[0]["name"] == "<d>"
    found = json.loads((faces / "found.json").read_text())
    assert (found["far"], found["duplicates"], found["two_people"], found["images"]) == (1, 1, 1, 48)
    assert [(str(each["label"]), str(each["record"])) for each in found["found"]] == [each[:2] for each in EXPECTED]


def test_lists_are_what_merge_and_split_take(faces):
    lists, source = faces / "lists", str(faces / "faces")
    before = {name: (faces / "faces" / name).read_bytes() for name in os.listdir(source)}
    assert run(faces, "--angle", "80", "--apply", lists) == 0
    assert {name: (faces / "faces" / name).read_bytes() for name in os.listdir(source)} == before
    files = [str(lists / f"{name}.txt") for name in ("far-images", "duplicate-images", "second-groups")]
    assert main(["merge", source, str(faces / "clean"), "--leave-out-images", *files]) == 0
    assert np.diff(DataSet(str(faces / "clean")).grouped().edges).tolist() == [7, 7, 8, 5, 8, 8]
    old, new = DataSet(source).records, DataSet(str(faces / "clean")).records
    kept = [key for key in range(1, 49) if key not in (4, 12, 26, 27, 28)]
    assert [old.read(key) for key in kept] == [new.read(key) for key in new.keys.tolist()]

    split = ["split", source, str(faces / "rest"), str(faces / "two"), "--identities", str(lists / "two-people.txt")]
    assert main([*split, "--leave-out-images", files[0]]) == 0
    assert (faces / "two" / "identities.txt").read_text() == "<d>\n"
    assert np.diff(DataSet(str(faces / "rest")).grouped().edges).tolist() == [8, 7, 8, 8, 8]


def test_sheets(faces):
    assert run(faces, "--angle", "80", "--pictures", faces / "pictures") == 0
    heights = [cv2.imread(str(faces / "pictures" / f"sheet-000{number}.png")).shape[0] for number in (1, 2, 3)]
    assert heights[1] > heights[0] == heights[2]  # duplicates have a row for the originals


def test_wrong_lists_of_images(faces, capsys):
    source, path = str(faces / "faces"), faces / "list.txt"
    for text, message in (
        ("4 0\n4 1\n", "line 2: .* has no record 4 with label 1"),
        ("49 0\n", "line 1: .* has no record 49"),
        ("0 0\n", "line 1: .* has no record 0"),
        ("4\n", "line 1: expected number and label"),
        ("x 1\n", "line 1: expected number and label"),
        ("".join(f"{key} {(key - 1) // IMAGES}\n" for key in range(1, 49)), "all of its images are left out"),
    ):
        path.write_text(text)
        assert main(["merge", source, str(faces / "out"), "--leave-out-images", str(path)]) == 2
        assert re.search(message, capsys.readouterr().err)
        assert not (faces / "out" / "train.rec").exists()
    path.write_text("4 0\n")
    assert main(["merge", source, source, str(faces / "out"), "--leave-out-images", str(path)]) == 2
    assert "--leave-out-images lists records of one data set" in capsys.readouterr().err


def test_features_of_other_data_and_wrong_limits(faces, capsys):
    assert run(faces, "--angle", "0") == 2 and "--angle 0: expected" in capsys.readouterr().err
    records = (faces / "features.txt").read_text()
    for right, wrong, line in (("12\t1\n", "12\t2\n", 12), ("48\t5\n", "99\t5\n", 48)):
        (faces / "features.txt").write_text(records.replace(right, wrong))
        assert run(faces) == 2 and f"features.txt, line {line}: " in capsys.readouterr().err
