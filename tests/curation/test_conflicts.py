"""`partial-fc centers conflicts`: what it prints and writes, and that other commands take its lists."""

import csv
import json
import logging
import os
import shlex

import cv2
import numpy as np
import pytest

from partial_fc.checkpoint.center_files import CenterFiles, write_centers
from partial_fc.cli.centers import main as centers
from partial_fc.cli.data.main import main as data
from partial_fc.cli.main import main
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.data_set import DataSet
from partial_fc.data.records.record_writer import write_records

from helpers.faces import face, write_faces
from helpers.features import write_features
from helpers.sheets import recorded_sheets

NUM_CLASSES, SIZE = 12, 16
NAMES = [f"person {label}" for label in range(NUM_CLASSES)]
HOSTILE = {  # all of them in clusters
    0: "<script>alert('x')</script>",
    2: "顔",
    3: '=1+1, "quoted"',
    5: "long-" * 80,
    6: "a\u202eb",
    9: "m\udce9thode",
    11: "$\\frac$ _x",
}
IN_CSV = {**HOSTILE, 3: '\'=1+1, "quoted"', 6: "a\\u202eb", 9: "m\\xe9thode"}  # as csv.reader reads it
for _label, _name in HOSTILE.items():
    NAMES[_label] = _name
PLANTED = {0: 0, 5: 0, 2: 2, 3: 2, 11: 2, 6: 6, 9: 6}  # classes that are one person, and the first of them
NOISE = {0: 1 / 2, 2: 1 / 4, 6: 1 / 3}  # tangent of the angle to the first


@pytest.fixture
def checkpoint(tmp_path):
    """Folder of centers: random ones, and those of PLANTED near the center of the first."""
    random = np.random.RandomState(0)
    weight, _ = np.linalg.qr(random.randn(SIZE, NUM_CLASSES))
    weight = 3 * weight.T.astype(np.float32)
    for label, person in PLANTED.items():
        if label != person:
            weight[label] = weight[person] + NOISE[person] * weight[label]
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    path = str(folder / "centers-00000-of-00001.safetensors")
    write_centers(path, 0, NUM_CLASSES, NUM_CLASSES, SIZE, [(0, weight, 2 * weight)])
    return folder


@pytest.fixture
def faces(tmp_path):
    """The data set of these centers, of 3 images each; names of every kind."""
    folder = tmp_path / "faces"
    folder.mkdir()
    write_faces(folder, NUM_CLASSES, 3)
    (folder / "identities.txt").write_bytes("".join(f"{name}\n" for name in NAMES).encode("utf-8", "surrogateescape"))
    return folder


def run(*arguments):
    return centers(["conflicts", *map(str, arguments)])


def lines(path):
    return path.read_bytes().decode("utf-8", "surrogateescape").splitlines()


def test_clusters_in_text_json_and_csv(checkpoint, faces, tmp_path, capsys):
    files = [f"--json={tmp_path}/found.json", f"--csv={tmp_path}/found.csv"]
    assert run(checkpoint, "--rec", faces, *files) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "5 pairs with a cosine of 0.5 or more: 3 clusters of 7 of 12 classes" in printed[0] and len(printed) == 4
    assert max(map(len, printed)) < 300 and "\\u202e" in "".join(printed)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [[member["label"] for member in cluster] for cluster in found["clusters"]] == [[2, 3, 11], [6, 9], [0, 5]]
    assert found["clusters"][0][0]["name"] == NAMES[2] and found["clusters"][1][0]["images"] == 3
    assert found["clusters"][1][1]["cosine"] == pytest.approx(1 / np.sqrt(1 + 1 / 9), abs=1e-5)
    with open(tmp_path / "found.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["label"]) for row in rows] == [2, 3, 11, 6, 9, 0, 5]
    assert {int(row["label"]): row["name"] for row in rows} == IN_CSV and rows[6]["cluster"] == "3"
    assert sum(len(cluster) - 1 for cluster in found["clusters"]) <= len(found["pairs"]) == 5


def test_threshold_most_and_pairs_of_different_people(checkpoint, tmp_path, capsys):
    def pairs(*arguments):
        assert run(checkpoint, "--json", *arguments) == 0
        return {(each["first"], each["second"]) for each in json.loads(capsys.readouterr().out)["pairs"]}

    every = pairs()
    assert every == {(0, 5), (2, 3), (2, 11), (3, 11), (6, 9)}
    assert pairs("--threshold", "0.945") == {(2, 3), (2, 11), (6, 9)}
    assert pairs("--most", "1") == {(0, 5), (2, 3), (2, 11), (6, 9)}
    (tmp_path / "different.txt").write_text("9 6\n\n2\t11\n")
    assert pairs("--different", tmp_path / "different.txt") == every - {(6, 9), (2, 11)}
    (tmp_path / "different.txt").write_text("9 6 1\n")
    assert run(checkpoint, "--different", tmp_path / "different.txt") == 2
    assert "different.txt, line 1: expected two labels" in capsys.readouterr().err


def test_people_known_to_be_different_are_not_joined(checkpoint, faces, tmp_path, caplog):
    """Also where a third class is close to both: it joins the closer one."""
    (tmp_path / "different.txt").write_text("11\t2\n")
    with caplog.at_level(logging.INFO, "partial_fc"):
        assert run(checkpoint, "--different", tmp_path / "different.txt", "--apply", tmp_path / "lists") == 0
    new_of = {old: new for new, old in (map(int, line.split()) for line in lines(tmp_path / "lists" / "label-map.txt"))}
    assert new_of[2] != new_of[11] and new_of[2] == new_of[3] and len(new_of) == NUM_CLASSES
    assert lines(tmp_path / "lists" / "close-identities.txt") == ["2", "3", "6", "9", "0", "5"]
    assert "1 close pairs do not join their clusters" in caplog.text
    path = tmp_path / "found.json"
    assert run(checkpoint, "--different", tmp_path / "different.txt", f"--json={path}", "--most", "1") == 0
    pairs = [(each["first"], each["second"]) for each in json.loads(path.read_text())["pairs"]]
    assert (3, 11) in pairs and (2, 11) not in pairs  # 3 is the closest other one of 11


def test_by_the_means_of_features(checkpoint, faces, tmp_path, capsys):
    """Labels without images have no mean; labels stay what they are."""
    centers_of = CenterFiles(str(checkpoint)).take(np.arange(NUM_CLASSES))[0]
    random = np.random.RandomState(1)
    features = tmp_path / "features.npy"
    write_features(features, faces, lambda key, label: centers_of[label] * random.uniform(1, 9))
    assert run(features, "--rec", faces, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [[member["label"] for member in cluster] for cluster in found["clusters"]] == [[2, 3, 11], [6, 9], [0, 5]]
    kept = np.loadtxt(tmp_path / "features.txt", dtype=int)[:, 1] > 0
    np.save(features, np.load(features)[kept])
    lines_kept = [line for line, keep in zip(lines(tmp_path / "features.txt"), kept) if keep]
    (tmp_path / "features.txt").write_text("\n".join(lines_kept))
    assert run(features, "--json", "--apply", tmp_path / "lists") == 0
    found = json.loads(capsys.readouterr().out)
    assert [[member["label"] for member in cluster] for cluster in found["clusters"]] == [[2, 3, 11], [6, 9]]
    assert found["classes"] == 11 and lines(tmp_path / "lists" / "label-map.txt")[0] == "0\t1"
    (tmp_path / "features.txt").write_text("\n".join(lines_kept).replace("4\t1\n", "4\t2\n"))
    assert run(features, "--rec", faces) == 2 and "features.txt, line 1: " in capsys.readouterr().err


def test_lists_are_what_merge_split_and_map_take(checkpoint, faces, tmp_path):
    lists = tmp_path / "lists"
    before = {name: (faces / name).read_bytes() for name in os.listdir(faces)}
    assert run(checkpoint, "--rec", faces, "--apply", lists) == 0
    assert {name: (faces / name).read_bytes() for name in os.listdir(faces)} == before
    assert sorted(os.listdir(lists)) == ["close-identities.txt", "label-map.txt", "leave-out.txt"]

    joined, labels = tmp_path / "joined", lists / "label-map.txt"
    assert data(["merge", str(faces), str(joined), "--labels", str(labels)]) == 0
    assert lines(joined / "identities.txt") == [NAMES[label] for label in (0, 1, 2, 4, 6, 7, 8, 10)]
    counts = np.diff(DataSet(str(joined)).grouped().edges)
    assert counts.tolist() == [6, 3, 9, 3, 6, 3, 3, 3]
    images = [image_of(faces, key) for key in (7, 8, 9, 10, 11, 12, 34, 35, 36)]  # of the labels 2, 3 and 11
    assert [image_of(joined, key) for key in range(10, 19)] == images

    assert centers(["map", str(checkpoint), str(tmp_path / "map"), "--labels", str(labels), "--num-classes", "8"]) == 0
    old = CenterFiles(str(checkpoint)).take(np.arange(NUM_CLASSES))
    for before, after in zip(old, CenterFiles(str(tmp_path / "map")).take(np.arange(8))):
        assert np.array_equal(after, before[[0, 1, 2, 4, 6, 7, 8, 10]])

    assert data(["merge", str(faces), str(tmp_path / "left"), "--leave-out", str(lists / "leave-out.txt")]) == 0
    assert lines(tmp_path / "left" / "identities.txt") == lines(joined / "identities.txt")
    held = ["split", str(faces), str(tmp_path / "rest"), str(tmp_path / "close"), "--identities"]
    assert data([*held, str(lists / "close-identities.txt")]) == 0
    assert lines(tmp_path / "close" / "identities.txt") == [NAMES[label] for label in sorted(PLANTED)]
    assert lines(lists / "close-identities.txt") == [NAMES[label] for label in (2, 3, 11, 6, 9, 0, 5)]


def image_of(folder, key):
    return DataSet(str(folder)).records.read(key)[0]


def test_the_class_with_the_most_images_comes_first(checkpoint, tmp_path):
    (tmp_path / "data").mkdir()
    write_counts(tmp_path / "data", [1, 1, 2, 4, 1, 3, 1, 1, 1, 1, 1, 5])
    assert run(checkpoint, "--rec", tmp_path / "data", f"--json={tmp_path}/a", "--apply", tmp_path / "lists") == 0
    found = json.loads((tmp_path / "a").read_text())["clusters"]
    assert [[member["label"] for member in cluster] for cluster in found] == [[11, 3, 2], [6, 9], [5, 0]]
    assert lines(tmp_path / "lists" / "leave-out.txt") == ["1 3", "1 2", "1 9", "1 0"]
    rows = [tuple(map(int, line.split())) for line in lines(tmp_path / "lists" / "label-map.txt")]
    assert [old for new, old in rows if new == dict((old, new) for new, old in rows)[3]] == [11, 3, 2]


def write_counts(folder, counts):
    images = [[encode_jpeg(face(label, image, 16)) for image in range(count)] for label, count in enumerate(counts)]
    write_records(str(folder / "train.rec"), images)


def test_classes_without_images_are_in_no_pair(checkpoint, tmp_path, caplog):
    """Neither do they join others, nor is a class listed that is close to such a class only."""
    centers_of, _ = CenterFiles(str(checkpoint)).take(np.arange(NUM_CLASSES))
    beside = 2.7 * np.linalg.svd(centers_of)[2][-1]  # is at right angles to all of them
    centers_of[3], centers_of[11] = centers_of[2] - beside, centers_of[2] + beside  # close to 2 only
    path = str(checkpoint / "centers-00000-of-00001.safetensors")
    write_centers(path, 0, NUM_CLASSES, NUM_CLASSES, SIZE, [(0, centers_of, centers_of)])
    (tmp_path / "data").mkdir()
    write_counts(tmp_path / "data", [1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1])  # 2 and 9 have none
    with caplog.at_level(logging.INFO, "partial_fc"):
        assert run(checkpoint, "--rec", tmp_path / "data", f"--json={tmp_path}/a", "--apply", tmp_path / "lists") == 0
    found = json.loads((tmp_path / "a").read_text())
    assert [[member["label"] for member in cluster] for cluster in found["clusters"]] == [[0, 5]]
    assert [(each["first"], each["second"]) for each in found["pairs"]] == [(0, 5)]
    assert lines(tmp_path / "lists" / "close-identities.txt") == ["0", "5"]
    rows = [tuple(map(int, line.split())) for line in lines(tmp_path / "lists" / "label-map.txt")]
    assert sorted(old for _, old in rows) == [0, 1, 3, 4, 5, 6, 7, 8, 10, 11] and max(new for new, _ in rows) == 8
    assert "left out 3 close pairs with a class that has no images" in caplog.text


def test_a_data_set_with_fewer_identities_than_the_checkpoint(checkpoint, faces, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "partial_fc"):
        assert run(checkpoint, "--rec", faces) == 0
        assert not caplog.records
        (tmp_path / "data").mkdir()
        write_counts(tmp_path / "data", [1] * 7)
        assert run(checkpoint, "--rec", tmp_path / "data") == 0
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{checkpoint} has 12 classes, ")
    assert "train.rec 7 identities: is it the set it was trained on?" in record.getMessage()


def test_a_name_that_several_labels_have(checkpoint, faces, tmp_path):
    """Only those listed are held out, not all of this name."""
    names = [{1: "Wang Wei", 5: "Wang Wei", 2: "A\t7"}.get(label, name) for label, name in enumerate(NAMES)]
    (faces / "identities.txt").write_bytes("".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape"))
    assert run(checkpoint, "--rec", faces, "--apply", tmp_path / "lists") == 0
    listed = lines(tmp_path / "lists" / "close-identities.txt")
    assert listed == ["A\t7\t2", names[3], names[11], names[6], names[9], names[0], "Wang Wei\t5"]
    held = ["split", str(faces), str(tmp_path / "rest"), str(tmp_path / "close"), "--identities"]
    assert data([*held, str(tmp_path / "lists" / "close-identities.txt")]) == 0
    assert lines(tmp_path / "close" / "identities.txt") == [names[label] for label in sorted(PLANTED)]
    assert lines(tmp_path / "rest" / "identities.txt") == [names[label] for label in (1, 4, 7, 8, 10)]


def test_lists_without_the_records(checkpoint, tmp_path):
    assert run(checkpoint, "--apply", tmp_path / "lists") == 0
    assert lines(tmp_path / "lists" / "close-identities.txt") == ["2", "3", "11", "6", "9", "0", "5"]
    assert len(lines(tmp_path / "lists" / "label-map.txt")) == NUM_CLASSES


def test_printed_commands_can_be_copied(checkpoint, faces, tmp_path, capsys):
    assert run(checkpoint, "--rec", faces, "--apply", tmp_path / "two words") == 0
    printed = [line.split(": ", 1)[1] for line in capsys.readouterr().err.splitlines() if line.startswith("to join")]
    assert len(printed) == 2
    for number, line in enumerate(printed):
        program, *words = shlex.split(line)
        words[words.index("OUT")] = str(tmp_path / f"out{number}")
        assert program == "partial-fc" and main(words) == 0


def test_sheets(checkpoint, faces, tmp_path, capsys):
    pictures = tmp_path / "new" / "pictures"
    assert run(checkpoint, "--rec", faces, "--pictures", pictures) == 0
    assert sorted(os.listdir(pictures)) == ["sheet-0001.png", "sheet-0002.png", "sheet-0003.png"]
    heights = [cv2.imread(str(pictures / name)).shape[0] for name in sorted(os.listdir(pictures))]
    assert heights[0] > heights[1] == heights[2]  # of three and of two classes
    assert run(checkpoint, "--rec", faces, "--pictures", pictures, "--threshold", "0.945") == 2
    assert "--overwrite replaces it" in capsys.readouterr().err and len(os.listdir(pictures)) == 3
    assert run(checkpoint, "--rec", faces, "--pictures", pictures, "--threshold", "0.945", "--overwrite") == 0
    assert len(os.listdir(pictures)) == 2


def test_rows_of_sheets(checkpoint, faces, tmp_path, monkeypatch):
    """Name, records and note of each class; a row shows ten images, spread over all."""
    counts = [3, 1, 34, 11, 1, 1, 10, 1, 1, 2, 1, 3]
    write_counts(faces, counts)
    starts = np.cumsum([1, *counts]).tolist()
    sheets = recorded_sheets(monkeypatch)
    assert run(checkpoint, "--rec", faces, "--pictures", tmp_path / "pictures") == 0
    rows = [row for sheet in sheets for row in sheet]
    assert list(map(len, sheets)) == [3, 2, 2]
    assert [name for name, _, _ in rows] == [f"{label}: {NAMES[label]}" for label in (2, 3, 11, 6, 9, 0, 5)]
    keys = [keys for _, keys, _ in rows]
    assert keys[0][:2] == [starts[2], starts[2] + 4] and keys[0][-1] == starts[3] - 1 and len(keys[0]) == 10
    assert keys[2:] == [[*range(starts[label], starts[label] + counts[label])] for label in (11, 6, 9, 0, 5)]
    notes = [note for _, _, note in rows]
    assert notes[0] in [f"10 of 34 images, cosine 0.970\nwith {other}, its nearest" for other in (3, 11)]  # as close
    assert notes[1:] == [
        "10 of 11 images, cosine 0.970\nwith 2, its nearest",
        "3 images, cosine 0.970\nwith 2, its nearest", "10 images, cosine 0.949\nwith 9, its nearest",
        "2 images, cosine 0.949\nwith 6, its nearest", "3 images, cosine 0.894\nwith 5, its nearest",
        "1 image, cosine 0.894\nwith 0, its nearest"]  # fmt: skip


def test_a_sheet_ends_with_the_number_of_classes_that_it_does_not_show(tmp_path, monkeypatch):
    for name in ("centers", "data"):
        (tmp_path / name).mkdir()
    weight = np.eye(40, 8, dtype=np.float32) + np.eye(8, dtype=np.float32)[7]
    weight[:5] = np.eye(5, 8)  # 35 classes in one cluster
    path = str(tmp_path / "centers" / "centers-00000-of-00001.safetensors")
    write_centers(path, 0, 40, 40, 8, [(0, weight, weight)])
    write_counts(tmp_path / "data", [1 + (label in (12, 30)) for label in range(40)])
    sheets, arguments = recorded_sheets(monkeypatch), [tmp_path / "centers", "--rec", tmp_path / "data", "--most", "40"]
    assert run(*arguments, "--threshold", "0.7", "--pictures", tmp_path / "pictures") == 0
    (rows,) = sheets
    assert [name for name, _, _ in rows[:3]] == ["12", "30", "5"] and len(rows) == 21
    assert rows[20] == ("and 15 more classes", [], "")
    monkeypatch.undo()
    assert run(*arguments, "--threshold", "0.7", "--pictures", tmp_path / "pictures") == 0


def test_wrong_arguments(checkpoint, faces, tmp_path, capsys):
    def refused(message, *arguments):
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert message in error and error.startswith("error: ") and error.count("\n") == 1

    refused("--pictures needs the data set", checkpoint, "--pictures", tmp_path / "pictures")
    refused("no such folder", tmp_path / "nowhere")
    refused("--threshold 0: expected a cosine", checkpoint, "--threshold", "0")
    refused("16 numbers per class", checkpoint, "--sub-centers", "3")
    refused("train.rec: no such file", checkpoint, "--rec", tmp_path)
    refused("is the folder of a source", checkpoint, "--rec", faces, "--apply", faces)
    refused("does not exist or cannot be written to", checkpoint, "--csv", tmp_path / "no" / "found.csv")
    (tmp_path / "more").mkdir()
    write_faces(tmp_path / "more", NUM_CLASSES + 1, 1)
    refused("has label 12, ", checkpoint, "--rec", tmp_path / "more")


@pytest.mark.parametrize("option", ["--apply", "--pictures"])
def test_what_is_there_is_refused_before_the_search(option, checkpoint, faces, tmp_path, capsys, monkeypatch):
    assert run(checkpoint, "--rec", faces, option, tmp_path / "there") == 0
    monkeypatch.setattr("partial_fc.curation.close_pairs._Search.run", None)
    capsys.readouterr()
    assert run(checkpoint, "--rec", faces, option, tmp_path / "there") == 2
    assert " exists: --overwrite replaces it" in capsys.readouterr().err


def test_no_conflicts(checkpoint, faces, tmp_path, capsys):
    assert (
        run(checkpoint, "--rec", faces, "--threshold", "0.999", "--pictures", tmp_path / "p", "--apply", tmp_path / "l")
        == 0
    )
    assert "0 pairs" in capsys.readouterr().out and os.listdir(tmp_path / "p") == []
    assert lines(tmp_path / "l" / "leave-out.txt") == [] and len(lines(tmp_path / "l" / "label-map.txt")) == NUM_CLASSES


def test_an_interrupted_command_leaves_nothing_half_done(checkpoint, faces, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("partial_fc.curation.close_pairs._Search.run", interrupt)
    assert run(checkpoint, "--rec", faces, f"--json={tmp_path}/a", "--apply", tmp_path / "lists") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted"
    assert not (tmp_path / "a").exists() and not (tmp_path / "lists").exists()


def test_a_full_disk_is_named(checkpoint, tmp_path, monkeypatch, capsys):
    (tmp_path / "lists").mkdir()

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("partial_fc.files.sync", full)
    assert run(checkpoint, "--apply", tmp_path / "lists") == 75
    assert "label-map.txt" in capsys.readouterr().err
    assert [name for name in os.listdir(tmp_path / "lists") if not name.startswith(".lock")] == []
