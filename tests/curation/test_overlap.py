"""`partial-fc data overlap`: people of two data sets, by features and by centers, and what `data merge` makes of it."""

import csv
import json
import logging
import os

import cv2
import numpy as np
import pytest

from partial_fc.checkpoint.center_files import write_centers
from partial_fc.cli.data.main import main
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.data_set import DataSet
from partial_fc.data.records.record_writer import record_files, write_records
from partial_fc.eval.image_source import RecordImages
from partial_fc.files import lines_digest

from helpers.faces import face
from helpers.features import write_features
from helpers.sheets import recorded_sheets

SIZE, NOISE = 32, 0.05
FIRST = [10, 11, 12, 13, 14]  # persons by label
SECOND = {0: 20, 2: 12, 3: 10, 5: 21, 7: 12}  # a plain file whose labels have gaps; 12 is there twice
NAMES = ["0", "-", '=1+1, "quoted"', "$\\frac$ _x", "-", "5", "-", "顔"]  # of the second set
MEANS = np.random.RandomState(0).randn(30, SIZE)


@pytest.fixture
def sets(tmp_path):
    """Two data sets, the first with names, and the features of their images; one has a plain file of images."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    images = [[encode_jpeg(face(person, image, 16)) for image in range(3)] for person in FIRST]
    write_records(str(tmp_path / "a" / "train.rec"), images)
    (tmp_path / "a" / "identities.txt").write_text("".join(f"person {person}\n" for person in FIRST))
    (tmp_path / "b" / "identities.txt").write_text("".join(f"{name}\n" for name in NAMES))
    with record_files(str(tmp_path / "b" / "train.rec")) as writer:
        for image in range(4):
            for label, person in SECOND.items():
                writer.write_image(encode_jpeg(face(person, 100 * label + image, 16)), label)
    random = np.random.RandomState(1)

    def vector(person):
        scale = random.uniform(1, 9)  # the network's embeddings are of any length
        return scale * (MEANS[person] + NOISE * random.randn(SIZE) * np.linalg.norm(MEANS[person]) / SIZE**0.5)

    write_features(tmp_path / "a.npy", tmp_path / "a", lambda _, label: vector(FIRST[label]))
    write_features(tmp_path / "b.npy", tmp_path / "b", lambda _, label: vector(SECOND[label]))
    return tmp_path


def run(folder, *arguments, by=("a.npy", "b.npy")):
    names = [str(folder / name) for name in ("a", "b")]
    return main(["overlap", *names, "--by", *(str(folder / name) for name in by), *map(str, arguments)])


def test_by_features(sets, capsys):
    assert run(sets, f"--json={sets}/found.json", f"--csv={sets}/found.csv") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("3 of 5 identities of ") and "0 person 10 (3 images)" in "".join(printed[1:])
    found = json.loads((sets / "found.json").read_text())
    assert {(each["first"], each["second"]) for each in found["pairs"]} == {(2, 2), (2, 7), (0, 3)}
    assert {each["label"]: each["nearest"] for each in found["matches"]} == {2: 2, 7: 2, 3: 0}
    assert all(
        each["cosine"] > 0.99 and each["images"] == 4 and each["nearest_images"] == 3 for each in found["matches"]
    )
    with open(sets / "found.csv", newline="") as file:
        rows = sorted((int(row["label"]), row["name"], row["nearest_name"]) for row in csv.DictReader(file))
    assert rows == [(2, f"'{NAMES[2]}", "person 12"), (3, NAMES[3], "person 10"), (7, NAMES[7], "person 12")]


def test_cosines_are_those_of_the_means_of_unit_vectors(sets):
    def means(name):
        features = np.load(sets / f"{name}.npy").astype(float)
        labels = np.loadtxt(sets / f"{name}.txt", dtype=int)[:, 1]
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        mean = {label: unit[labels == label].mean(axis=0) for label in set(labels.tolist())}
        return {label: each / np.linalg.norm(each) for label, each in mean.items()}

    assert run(sets, f"--json={sets}/found.json") == 0
    first, second = means("a"), means("b")
    for pair in json.loads((sets / "found.json").read_text())["pairs"]:
        assert pair["cosine"] == pytest.approx(first[pair["first"]] @ second[pair["second"]], abs=2e-6)


def test_by_centers_and_by_features(sets):
    """The last class has no images in the data set: it is not reported, though the other set has this person."""
    (sets / "centers").mkdir()
    weight = MEANS[[*FIRST, SECOND[0]]].astype(np.float32)
    path = str(sets / "centers" / "centers-00000-of-00001.safetensors")
    write_centers(path, 0, len(weight), len(weight), SIZE, [(0, weight, weight)])
    assert run(sets, f"--json={sets}/found.json", by=("centers", "b.npy")) == 0
    found = json.loads((sets / "found.json").read_text())
    assert {(each["first"], each["second"]) for each in found["pairs"]} == {(2, 2), (2, 7), (0, 3)}


def counts_of(folder):
    return np.diff(DataSet(str(folder)).grouped().edges).tolist()


def names_of(folder, name="identities.txt"):
    return (folder / name).read_text().splitlines()


def test_lists_leave_them_out_or_join_them(sets):
    before = {name: (sets / "b" / name).read_bytes() for name in os.listdir(sets / "b")}
    lists, a, b = sets / "lists", str(sets / "a"), str(sets / "b")
    assert run(sets, "--apply", lists) == 0
    assert main(["merge", a, b, str(sets / "left"), "--leave-out", str(lists / "leave-out.txt")]) == 0
    assert names_of(sets / "left") == [*(f"1/person {person}" for person in FIRST), "2/0", "2/5"]
    assert main(["merge", a, b, str(sets / "joined"), "--labels", str(lists / "label-map.txt")]) == 0
    assert names_of(sets / "joined") == names_of(sets / "left")
    assert counts_of(sets / "left") == [3, 3, 3, 3, 3, 4, 4] and counts_of(sets / "joined") == [7, 3, 11, 3, 3, 4, 4]
    split = ["split", b, str(sets / "rest"), str(sets / "shared"), "--identities"]
    assert main([*split, str(lists / "shared-identities.txt")]) == 0
    assert names_of(sets / "shared") == [NAMES[2], NAMES[3], NAMES[7]]
    assert sorted(names_of(lists, "shared-identities.txt")) == sorted(names_of(sets / "shared"))
    assert {name: (sets / "b" / name).read_bytes() for name in os.listdir(sets / "b")} == before


def test_pairs_of_different_people_are_left_out(sets, capsys):
    (sets / "different.txt").write_text("2 7\n3 0\n")  # 3 is of the second data set: its line matches nothing
    assert run(sets, "--json", "--different", sets / "different.txt") == 0
    found = json.loads(capsys.readouterr().out)
    assert {(each["first"], each["second"]) for each in found["pairs"]} == {(2, 2), (0, 3)}


def test_a_name_that_several_labels_have(sets):
    """Only those listed are held out, not all of this name."""
    (sets / "b" / "identities.txt").write_text("a\n-\nWang Wei\nc\n-\nWang Wei\n-\nd\n")
    assert run(sets, "--apply", sets / "lists") == 0
    assert sorted(names_of(sets / "lists", "shared-identities.txt")) == ["Wang Wei\t2", "c", "d"]
    split = ["split", str(sets / "b"), str(sets / "rest"), str(sets / "shared"), "--identities"]
    assert main([*split, str(sets / "lists" / "shared-identities.txt")]) == 0
    assert names_of(sets / "shared") == ["Wang Wei", "c", "d"] and names_of(sets / "rest") == ["a", "Wang Wei"]


def test_rows_of_sheets(sets, monkeypatch):
    sheets = recorded_sheets(monkeypatch)
    assert run(sets, "--pictures", sets / "pictures", f"--json={sets}/found.json") == 0
    found = json.loads((sets / "found.json").read_text())["matches"]
    ones = {0: [1, 2, 3], 2: [7, 8, 9]}  # records of the first set, by label; in the second every fifth is of a label
    others = {2: [2, 7, 12, 17], 3: [3, 8, 13, 18], 7: [5, 10, 15, 20]}
    assert len(sheets) == 3
    for sheet, match in zip(sheets, found):
        one, other = match["nearest"], match["label"]
        assert sheet == [
            (f"{one}: person {FIRST[one]}", ones[one], "3 images, first data set"),
            (f"{other}: {NAMES[other]}", others[other], f"4 images, second data set\ncosine {match['cosine']:.3f}"),
        ]


def test_sheets(sets):
    assert run(sets, "--pictures", sets / "pictures") == 0
    assert sorted(os.listdir(sets / "pictures")) == [f"sheet-{number:04d}.png" for number in (1, 2, 3)]
    assert cv2.imread(str(sets / "pictures" / "sheet-0001.png")).std() > 10


def about(sets, name, **changes):
    """The file that `eval embed` writes beside the features of a data set."""
    images = RecordImages(str(sets / name))
    facts = dict(names=lines_digest(images.lines), states=lines_digest(images.states()), image_size=images.size)
    (sets / f"{name}.json").write_text(json.dumps({"model": "x", "flip": False, **facts, **changes}))


@pytest.mark.parametrize(
    "change,message",
    [(dict(model="y"), "of two models"), (dict(flip=True), "with and without mirror images"),
     (dict(image_size=[24, 16]), "of images of two sizes")],
)  # fmt: skip
def test_features_that_cannot_be_compared_are_refused(change, message, sets, capsys):
    about(sets, "a")
    about(sets, "b")
    assert run(sets) == 0
    about(sets, "b", **change)
    assert run(sets) == 2
    error = capsys.readouterr().err
    assert f"{sets}/a.npy and {sets}/b.npy: features {message}" in error
    (sets / "a.json").unlink()  # nothing is known of the first
    assert run(sets) == 0
    (sets / "a.json").write_text("[1")
    assert run(sets) == 0


def test_features_of_other_images(sets, capsys, caplog):
    about(sets, "b", names="of other lines")
    assert run(sets) == 2 and "b.npy: features of other records than those of " in capsys.readouterr().err
    about(sets, "b", states="of another file")
    with caplog.at_level(logging.WARNING, "partial_fc"):
        assert run(sets) == 0
        assert "train.rec has changed, or was copied, since " in caplog.text
        caplog.clear()
        about(sets, "b")
        assert run(sets) == 0
    assert not caplog.records


def test_features_of_other_data_are_refused(sets, capsys):
    def refused(message, by):
        assert run(sets, by=by) == 2
        assert message in capsys.readouterr().err

    refused("a.txt, line ", ("a.npy", "a.npy"))
    refused("b.txt, line 2: ", ("b.npy", "b.npy"))
    refused("nowhere", ("a.npy", "nowhere"))
    np.save(sets / "small.npy", np.load(sets / "b.npy")[:, :7])
    (sets / "small.txt").write_text((sets / "b.txt").read_text())
    refused(f"vectors of {SIZE} numbers and of 7", ("a.npy", "small.npy"))
    features = np.load(sets / "b.npy")
    features[4, 2] = np.inf
    np.save(sets / "b.npy", features)
    refused("b.npy: the embedding of record 5 is not finite", ("a.npy", "b.npy"))
