"""One of several sub-centers per class, against a slow implementation in plain loops."""

import numpy as np
import pytest

from partial_fc.checkpoint import dominant_centers
from partial_fc.checkpoint.center_files import CenterFiles, save_centers
from partial_fc.cli.centers import main
from partial_fc.errors import InputError
from partial_fc.head.optimizer import CenterAdamW, CenterSGD

from helpers.centers import banks

NUM_CLASSES, SUB_CENTERS, SIZE, NUM_IMAGES = 31, 3, 8, 200


@pytest.fixture(params=[CenterSGD.states, CenterAdamW.states], ids=["sgd", "adamw"])
def files(request, tmp_path):
    """Folder with centers of three ranks and with features; centers and state, features, numbers and labels."""
    random = np.random.RandomState(0)
    centers = random.randn(1 + len(request.param), NUM_CLASSES, SUB_CENTERS * SIZE).astype(np.float32)
    for bank in banks(3, num_classes=NUM_CLASSES, embedding_size=SUB_CENTERS * SIZE, states=request.param):
        bank.set(bank.partition.class_start, *(each[slice(*bank.partition)] for each in centers))
        save_centers(str(tmp_path), bank, 3)
    labels = random.randint(0, NUM_CLASSES - 1, NUM_IMAGES)  # the last class has no image
    picked = random.choice(SUB_CENTERS, NUM_IMAGES, p=[0.2, 0.2, 0.6])
    near = centers[0].reshape(NUM_CLASSES, SUB_CENTERS, SIZE)[labels, picked]
    features = ((near + random.randn(NUM_IMAGES, SIZE)) * random.uniform(1, 9, (NUM_IMAGES, 1))).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    numbers = np.arange(NUM_IMAGES) * 2 + 1
    (tmp_path / "features.txt").write_text("".join(f"{n}\t{label}\n" for n, label in zip(numbers, labels)))
    return tmp_path, centers, features, numbers, labels


def slow(centers, features, numbers, labels, degrees):
    """Dominant center of each class, and numbers and labels of the images far from it."""

    def angle(feature, center):
        cosine = feature @ center / np.sqrt((feature @ feature) * (center @ center))
        return np.degrees(np.arccos(cosine))

    each = centers[0].astype(float).reshape(NUM_CLASSES, SUB_CENTERS, SIZE)
    votes = [[0] * SUB_CENTERS for _ in range(NUM_CLASSES)]
    for feature, label in zip(features.astype(float), labels):
        votes[label][min(range(SUB_CENTERS), key=lambda k: angle(feature, each[label, k]))] += 1
    dominant = [max(range(SUB_CENTERS), key=lambda k: found[k]) for found in votes]
    angles = [angle(feature, each[label, dominant[label]]) for feature, label in zip(features.astype(float), labels)]
    return dominant, [(number, label) for number, label, found in zip(numbers, labels, angles) if found > degrees]


@pytest.mark.parametrize("degrees", [dominant_centers._FAR, 40])
@pytest.mark.parametrize("block", [2**24, 700])
def test_equals_the_slow_implementation(block, degrees, files, monkeypatch, caplog):
    folder, centers, *images = files
    monkeypatch.setattr("partial_fc.checkpoint.center_files._BLOCK_BYTES", block)
    monkeypatch.setattr(dominant_centers, "_FAR", degrees)
    assert main(["dominant", str(folder), str(folder / "features.npy"), str(folder / "out")]) == 0
    dominant, far = slow(centers, *images, degrees)
    assert len(set(dominant)) == SUB_CENTERS and 0 < len(far) < NUM_IMAGES
    result = CenterFiles(str(folder / "out"))
    assert (result.num_classes, result.embedding_size) == (NUM_CLASSES, SIZE)
    arrays = result.take(np.arange(NUM_CLASSES))
    assert len(arrays) == len(centers)
    for array, before in zip(arrays, centers):
        expected = before.reshape(NUM_CLASSES, SUB_CENTERS, SIZE)[np.arange(NUM_CLASSES), dominant]
        assert np.array_equal(array, expected)
    lines = (folder / "out" / dominant_centers.FAR_IMAGES).read_text().splitlines()
    assert [tuple(map(int, line.split("\t")[:2])) for line in lines] == far
    assert all(float(line.split("\t")[2]) >= degrees for line in lines)


def keep(folder):
    return dominant_centers.keep_dominant(str(folder), str(folder / "features.npy"), str(folder / "out"))


def test_figures(files):
    folder, *_ = files
    kept = keep(folder)
    assert (kept.sub_centers, kept.images) == (SUB_CENTERS, NUM_IMAGES) and kept.unseen >= 1 and kept.far > 0
    with pytest.raises(InputError, match="already has centers"):
        keep(folder)


def test_what_does_not_fit_is_refused_and_nothing_is_written(files):
    folder, _, features, *_ = files
    lines = (folder / "features.txt").read_text().splitlines()

    def refused(message, features=features, lines=lines):
        np.save(folder / "features.npy", features)
        (folder / "features.txt").write_text("".join(line + "\n" for line in lines))
        with pytest.raises(InputError, match=message):
            keep(folder)
        assert not (folder / "out").exists()

    refused("features of 7 numbers; .* has 24 numbers per class", features[:, :7])
    refused("features of 24 numbers", np.tile(features, 3))  # one center per class
    refused("199 lines for 200 rows", lines=lines[:-1])
    refused("line 200: label 31 lies outside", lines=[*lines[:-1], "7\t31"])
    refused("line 3: expected number and label of a record", lines=[*lines[:2], "faces/a.jpg", *lines[3:]])


def test_an_embedding_of_zeros_is_far(files):
    folder, _, features, *_ = files
    features[5] = 0
    np.save(folder / "features.npy", features)
    keep(folder)
    assert "11\t" in (folder / "out" / dominant_centers.FAR_IMAGES).read_text()
