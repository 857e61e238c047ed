"""`partial-fc data clean`, against plain loops, and that `data merge` and `split` take its lists."""

import csv
import json
import logging
import os
import re

import cv2
import numpy as np
import pytest

from partial_fc.cli.data.main import main
from partial_fc.curation import identity
from partial_fc.curation.identity import angles_to_others, near_duplicates, two_groups
from partial_fc.data.records.data_set import DataSet
from partial_fc.data.records.record_writer import write_records

from helpers.faces import write_faces
from helpers.features import write_features
from helpers.sheets import recorded_sheets

SIZE, IMAGES = 32, 8
NAMES = ["顔", '=1+1, "quoted"', "c", "$\\frac$ _x", "e", "f"]  # of the first, second and fourth something is found
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


@pytest.mark.parametrize("strays", [1, 2])
def test_two_groups_are_found_beside_stray_images(strays):
    """Each stray image is farther from the two groups than these are from each other."""
    second = 0.2 * MEANS[0] + 0.98 * MEANS[1]
    vectors = np.array([MEANS[0]] * 6 + [second] * 6 + list(MEANS[2 : 2 + strays]), np.float32)
    for order in (np.arange(len(vectors)), np.random.RandomState(0).permutation(len(vectors))):
        found, apart = two_groups(vectors[order])
        assert sorted(order[found].tolist()) in ([*range(6)], [*range(6, 12)])
        assert apart == pytest.approx(0.2, abs=1e-3)


def test_two_groups_are_found_beside_a_stray_image_in_noise():
    """The stray image, the last one, may be counted to either."""
    for seed in range(100):
        vectors = MEANS[[0] * 7 + [1] * 5 + [2]] + 0.08 * np.random.RandomState(seed).randn(13, SIZE)
        second, apart = two_groups((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))
        assert {*second.tolist()} - {12} == {*range(7, 12)} and apart < 0.3


@pytest.fixture
def faces(tmp_path):
    """Six identities of eight images, from 1 on; 3 and 4 are equal, 12 is another person, 26 to 28 a third one."""
    (tmp_path / "faces").mkdir()
    write_faces(tmp_path / "faces", 6, IMAGES)
    (tmp_path / "faces" / "identities.txt").write_text("".join(f"{name}\n" for name in NAMES))
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
    assert [line.split()[0] for line in printed[1:4]] == ["1", "0", "1"] and len(printed) == 8
    with open(faces / "found.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["record"], row["finding"], row["other"]) for row in rows] == EXPECTED
    assert [row["name"] for row in rows] == [NAMES[3]] * 3 + [NAMES[0], f"'{NAMES[1]}"]
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
    assert (faces / "two" / "identities.txt").read_text() == f"{NAMES[3]}\n"
    assert (lists / "two-people.txt").read_text() == f"{NAMES[3]}\n"
    assert np.diff(DataSet(str(faces / "rest")).grouped().edges).tolist() == [8, 7, 8, 8, 8]


def test_rows_of_sheets(faces, monkeypatch):
    sheets = recorded_sheets(monkeypatch)
    assert run(faces, "--angle", "80", "--pictures", faces / "pictures", f"--json={faces}/found.json") == 0
    values = [each["value"] for each in json.loads((faces / "found.json").read_text())["found"]]
    names = [f"{label}: {name}" for label, name in enumerate(NAMES)]
    assert sheets == [
        [
            (names[3], [25, 29, 30, 31, 32], "5 of 8 images are usual"),
            (names[3], [26, 27, 28], f"second of two groups, cosine {values[0]:.2f}"),
        ],
        [
            (names[0], [1, 2, 3, 5, 6, 7, 8], "7 of 8 images are usual"),
            (names[0], [4], "duplicates"),
            (names[0], [3], "their originals"),
        ],
        [
            (names[1], [9, 10, 11, 13, 14, 15, 16], "7 of 8 images are usual"),
            (names[1], [12], f"far from the mean, degrees:\n{values[4]:.0f}"),
        ],
    ]


@pytest.fixture
def pairs(faces):
    """`faces` with identities 4 and 5 cut down to two images, of which those of 5 are of two people; 4 is unusual."""
    records = DataSet(str(faces / "faces")).records
    images = [[records.read(1 + IMAGES * label + place)[0] for place in range(IMAGES)] for label in range(6)]
    write_records(str(faces / "faces" / "train.rec"), [*images[:4], images[4][:2], images[5][:2]])

    def vector(key, label):
        noise = 0.05 * np.random.RandomState(key).randn(SIZE)
        return MEANS[{12: 20, 36: 22}.get(key, label)] + noise

    write_features(faces / "features.npy", faces / "faces", vector)
    return faces


def test_images_of_a_pair_are_in_a_list_of_their_own(pairs, monkeypatch):
    """Either may be wrong: to leave out both would leave out the person."""
    sheets, lists = recorded_sheets(monkeypatch), pairs / "lists"
    arguments = ["--apply", lists, "--pictures", pairs / "pictures", f"--csv={pairs}/found.csv", f"--json={pairs}/json"]
    assert run(pairs, *arguments) == 0
    assert [line.split("\t")[:2] for line in (lists / "far-pairs.txt").read_text().splitlines()] == [
        ["35", "5"], ["36", "5"]]  # fmt: skip
    assert [line.split("\t")[:2] for line in (lists / "far-images.txt").read_text().splitlines()] == [["12", "1"]]
    with open(pairs / "found.csv", newline="") as file:
        rows = [(row["label"], row["record"], row["finding"], row["other"]) for row in csv.DictReader(file)]
    assert rows == [("5", "35", "far pair", "36"), ("5", "36", "far pair", "35"), ("1", "12", "far", "")]
    found = json.loads((pairs / "json").read_text())
    assert (found["far"], found["far_pairs"]) == (1, 1)
    usual, far = sheets[0]
    angle = round(found["found"][0]["value"])
    assert usual == ("5: f", [], "0 of 2 images are usual")
    assert far == ("5: f", [35, 36], f"far from each other, degrees:\n{angle}, {angle}")


def test_all_lists_in_one_merge(pairs, caplog):
    """Identities that lose all of their images to --leave-out-images are skipped in the lists of identities."""
    lists, source = pairs / "lists", str(pairs / "faces")
    assert run(pairs, "--apply", lists) == 0
    images = ["--leave-out-images", *(str(lists / f"far-{what}.txt") for what in ("images", "pairs"))]
    (pairs / "map.txt").write_text("0\t3\n1\t5\n2\t0\n2\t4\n2\t1\n3\t2\n")

    def merged(out, *arguments):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "partial_fc"):
            assert main([arguments[0], source, str(pairs / out), *arguments[1:], *images]) == 0
        data_set = DataSet(str(pairs / out))
        return data_set.names(), np.diff(data_set.grouped().edges).tolist()

    names, counts = merged("joined", "merge", "--labels", str(pairs / "map.txt"))
    assert (names, counts) == ([NAMES[3], NAMES[0], NAMES[2]], [8, 8 + 2 + 7, 8])
    assert "map.txt: skipped 1 identities, of which all images are left out" in caplog.text
    (pairs / "out.txt").write_text("1 5\n1 2\n")
    names, counts = merged("left", "merge", "--leave-out", str(pairs / "out.txt"))
    assert (names, counts) == ([NAMES[0], NAMES[1], NAMES[3], NAMES[4]], [8, 7, 8, 2])
    assert "out.txt: skipped 1 identities" in caplog.text
    (pairs / "held.txt").write_text(f"f\n{NAMES[1]}\n")
    names, counts = merged("rest", "split", str(pairs / "held"), "--identities", str(pairs / "held.txt"))
    assert (names, counts) == ([NAMES[0], *NAMES[2:5]], [8, 8, 8, 2])
    assert DataSet(str(pairs / "held")).names() == [NAMES[1]] and "held.txt: skipped 1 identities" in caplog.text


def test_a_label_map_of_identities_without_images_is_an_error(pairs, capsys):
    assert run(pairs, "--apply", pairs / "lists") == 0
    (pairs / "map.txt").write_text("0\t5\n")
    arguments = ["--labels", str(pairs / "map.txt"), "--leave-out-images", str(pairs / "lists" / "far-pairs.txt")]
    assert main(["merge", str(pairs / "faces"), str(pairs / "out"), *arguments]) == 2
    assert "map.txt: all images of its identities are left out" in capsys.readouterr().err
    (pairs / "map.txt").write_text("0\t6\n")
    assert main(["merge", str(pairs / "faces"), str(pairs / "out"), *arguments]) == 2
    assert "map.txt, line 1: source 1 has no images of label 6" in capsys.readouterr().err


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
