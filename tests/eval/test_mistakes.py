"""`eval verification --mistakes` against the protocol written out, pair by pair, and with names that mean harm."""

import csv
import json
import os

import cv2
import numpy as np
import pytest

from partial_fc.cli.eval.main import main
from partial_fc.data.images.decoding import decode_image, encode_jpeg
from partial_fc.data.verification_set import save_verification_set
from partial_fc.eval.mistakes import Verdicts, write_mistakes

from helpers.faces import face
from helpers.models import write_linear_model

SIZE, PAIRS = 16, 53


def slow_verdicts(rows, issame):
    """(Index, fold, score, threshold) of the pairs that are judged wrongly by the threshold best on the other folds."""
    rows = [row / np.sqrt((row**2).sum()) for row in rows]
    distances = [((a - b) ** 2).sum() for a, b in zip(rows[0::2], rows[1::2])]
    folds = [fold for fold in range(10) for _ in range(len(issame) // 10 + (fold < len(issame) % 10))]
    for pair, (distance, fold) in enumerate(zip(distances, folds)):
        others = [other for other in range(len(issame)) if folds[other] != fold]
        thresholds = np.arange(0, 4, 0.01)
        right = [sum((distances[other] < each) == issame[other] for other in others) for each in thresholds]
        threshold = thresholds[right.index(max(right))]
        if (distance < threshold) != issame[pair]:
            yield pair, fold, 1 - distance / 2, 1 - threshold / 2


@pytest.fixture
def val(tmp_path):
    """Folder with `val.bin` and the model `m`; the images, issame, and the model as a function."""
    random = np.random.RandomState(0)
    issame = random.rand(PAIRS) < 0.5
    images = random.randint(0, 256, (2 * PAIRS, SIZE, SIZE, 3))
    images[1::2][issame] = (images[0::2][issame] + 2 * images[1::2][issame]) // 3
    encoded = [encode_jpeg(image.astype(np.uint8)) for image in images]
    save_verification_set(tmp_path / "val.bin", encoded, issame)
    decoded = np.stack([decode_image(image, (SIZE, SIZE)) for image in encoded])
    return tmp_path, decoded, issame, write_linear_model(tmp_path / "m", SIZE)


def verify(*arguments):
    return main(["verification", *map(str, arguments)])


def lines(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_wrong_pair_is_listed_with_its_pictures(val, capsys):
    folder, images, issame, embed = val
    common = ["--model", folder / "m", "--bin", folder / "val.bin"]
    assert verify(*common, "--mistakes", folder / "wrong", "--json", folder / "out.json") == 0
    assert f" wrong pairs of {PAIRS} to {folder}/wrong" in capsys.readouterr().err
    expected = {pair: rest for pair, *rest in slow_verdicts(embed(images) + embed(images[:, :, ::-1]), issame)}
    found = lines(folder / "wrong" / "mistakes.csv")
    assert list(found[0]) == ["fold", "index", "same", "score", "threshold", "left", "right"]
    assert {int(each["index"]) for each in found} == set(expected) and 3 < len(expected) < 40
    for each in found:
        pair = int(each["index"])
        fold, *numbers = expected[pair]
        assert (int(each["fold"]), int(each["same"])) == (fold, issame[pair])
        assert [float(each["score"]), float(each["threshold"])] == pytest.approx(numbers, abs=1e-5)
        assert [each["left"], each["right"]] == [f"{folder}/val.bin: image {2 * pair + side}" for side in (0, 1)]
        for place, side in enumerate(("left", "right")):
            picture = cv2.imread(str(folder / "wrong" / f"{pair:05d}-{side}.png"))[..., ::-1]
            np.testing.assert_array_equal(picture, images[2 * pair + place])
    distances = [abs(float(each["score"]) - float(each["threshold"])) for each in found]
    assert distances == sorted(distances, reverse=True)
    measured = json.loads((folder / "out.json").read_text())
    threshold = pytest.approx(1 - measured["threshold"] / 2)
    judged_by = json.loads((folder / "wrong" / "threshold.json").read_text())
    assert judged_by == {"threshold": threshold, "accepts_equal": False}
    names = {"mistakes.csv", "scores.csv", "threshold.json", "worst.png"}
    names |= {f"{pair:05d}-{side}.png" for pair in expected for side in ("left", "right")}
    assert set(os.listdir(folder / "wrong")) == names


def test_scores_of_all_pairs(val):
    folder, images, issame, embed = val
    assert verify("--model", folder / "m", "--bin", folder / "val.bin", "--mistakes", folder / "wrong") == 0
    rows = embed(images) + embed(images[:, :, ::-1])
    expected = [a @ b / np.sqrt(a @ a) / np.sqrt(b @ b) for a, b in zip(rows[0::2], rows[1::2])]
    found = lines(folder / "wrong" / "scores.csv")
    assert [int(each["index"]) for each in found] == list(range(PAIRS))
    assert [int(each["same"]) for each in found] == issame.astype(int).tolist()
    assert [float(each["score"]) for each in found] == pytest.approx(expected, abs=1e-5)


def test_a_list_alone_is_that_of_the_folder(val):
    folder = val[0]
    for path in ("wrong", "list.CSV"):
        assert verify("--model", folder / "m", "--bin", folder / "val.bin", "--mistakes", folder / path) == 0
    assert (folder / "list.CSV").read_bytes() == (folder / "wrong" / "mistakes.csv").read_bytes()


def test_pictures_of_an_earlier_run_are_removed_and_nothing_else(val):
    folder = val[0]
    (folder / "wrong").mkdir()
    for name in ("99999-left.png", "99999-right.png", "notes.txt", "1-left.png"):
        (folder / "wrong" / name).touch()
    run = ["--model", folder / "m", "--bin", folder / "val.bin", "--mistakes", folder / "wrong"]
    assert verify(*run) == 0
    assert (folder / "wrong" / "99999-left.png").exists()  # a folder that was not written by this command
    assert verify(*run) == 0
    assert {"notes.txt", "1-left.png"} <= set(os.listdir(folder / "wrong"))
    assert not (folder / "wrong" / "99999-left.png").exists()
    (folder / "wrong" / "worst.png").unlink()
    assert verify(*run) == 0 and (folder / "wrong" / "worst.png").exists()


HOSTILE = ["=cmd|'C calc'!A0", "<script>alert(1)<b>", '"quoted", and more', "\x1b[31mred", "顔 写真", "a$b_c^d"]


def test_names_that_mean_harm(tmp_path, capsys):
    """Names of folders with formulas, markup, controls: the list is safe to open, the sheet is drawn."""
    write_linear_model(tmp_path / "m", SIZE)
    for number, name in enumerate(HOSTILE):
        folder = tmp_path / "faces" / name
        folder.mkdir(parents=True)
        for image in range(2):
            (folder / f"{image}.jpg").write_bytes(encode_jpeg(face(number, image, SIZE)))
    names = sorted(os.listdir(tmp_path / "faces"))
    pairs = [f"{a}/0.jpg\t{b}/1.jpg\t{int(a != b)}" for a in names for b in names]  # labelled wrongly
    (tmp_path / "pairs.txt").write_text("\n".join(pairs), encoding="utf-8")
    run = ["--model", tmp_path / "m", "--images", tmp_path / "faces", "--pairs", tmp_path / "pairs.txt"]
    assert verify(*run, "--mistakes", tmp_path / "wrong") == 0, capsys.readouterr().err
    found = lines(tmp_path / "wrong" / "mistakes.csv")
    assert len(found) >= 6 and all("\x1b" not in each["left"] + each["right"] for each in found)
    assert any("\\x1b[31mred" in each["left"] for each in found)
    assert cv2.imread(str(tmp_path / "wrong" / "worst.png")) is not None
    assert "\x1b" not in capsys.readouterr().err


def test_a_name_that_a_spreadsheet_takes_for_a_formula(tmp_path):
    verdicts = Verdicts(np.array([True]), np.array([0.1]), np.array([0]), np.array([0.2]), np.array([True]), 0.2, True)
    write_mistakes(str(tmp_path / "x.csv"), verdicts, lambda index: ("=1+2", "a,b"), None)
    assert [lines(tmp_path / "x.csv")[0][side] for side in ("left", "right")] == ["'=1+2", "a,b"]


def test_the_sheet_shows_the_worst_of_each_kind(tmp_path):
    """Accepted pairs of red images on the left, rejected pairs of green ones on the right; ten of each at most."""
    issame = np.arange(30) % 3 == 0
    scores = np.where(issame, -0.01, 0.01) * np.arange(1, 31)
    wrong = np.arange(30) < 24  # 16 of different people, 8 of the same person
    verdicts = Verdicts(issame, scores, np.zeros(30, int), np.zeros(30), wrong, 0, True)
    asked = []

    def read(index):
        asked.append(index)
        return tuple(np.full((40, 40, 3), (0, 200, 0) if issame[index] else (250, 0, 0), np.uint8) for _ in range(2))

    write_mistakes(str(tmp_path), verdicts, lambda index: ("left", "right"), read)
    assert asked[24:] == [n for n in range(23, 0, -1) if n % 3][:10] + [21, 18, 15, 12, 9, 6, 3, 0]
    sheet = cv2.imread(str(tmp_path / "worst.png"))[..., ::-1].astype(int)
    areas = {}
    for name, color in (("red", (250, 0, 0)), ("green", (0, 200, 0))):
        same = (np.abs(sheet - color).max(axis=2) < 12).astype(np.uint8)
        areas[name] = cv2.connectedComponentsWithStats(same)[2][1:]
    assert [len(areas[name]) for name in ("red", "green")] == [20, 16]
    assert areas["red"][:, cv2.CC_STAT_LEFT].max() < areas["green"][:, cv2.CC_STAT_LEFT].min()


def test_no_mistakes(tmp_path):
    verdicts = Verdicts(np.ones(3, bool), np.ones(3), np.zeros(3, int), np.zeros(3), np.zeros(3, bool), 0, True)
    write_mistakes(str(tmp_path / "none"), verdicts, None, None)
    assert sorted(os.listdir(tmp_path / "none")) == ["mistakes.csv", "scores.csv", "threshold.json"]
    assert lines(tmp_path / "none" / "mistakes.csv") == [] and len(lines(tmp_path / "none" / "scores.csv")) == 3


def test_one_model_and_one_set(val, capsys):
    folder = val[0]
    for more in (["--model", folder / "m"], ["--bin", folder / "val.bin"]):
        assert verify("--model", folder / "m", "--bin", folder / "val.bin", *more, "--mistakes", folder / "x") == 2
        assert "--mistakes is for one --model and one set of pairs" in capsys.readouterr().err
