"""The commands `eval pair` and `eval identify` against cosines and thresholds that are found out one by one."""

import json
import os

import cv2
import numpy as np
import pytest

from partial_fc.cli.eval.main import main
from partial_fc.data.images.align import TEMPLATE, align_face
from partial_fc.data.images.decoding import decode_image, encode_jpeg
from partial_fc.data.images.fit import middle_square
from partial_fc.data.verification_set import save_verification_set

from helpers.faces import face
from helpers.models import write_linear_model

SIZE = 16


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the model `m`, and a.png, b.png; the model as a function."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        write(f"{name}.png", face(ord(name), 0, SIZE))
    return write_linear_model("m", SIZE)


def write(path, rgb):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    assert cv2.imwrite(path, np.ascontiguousarray(rgb[..., ::-1]))


def cosine(embed, *images):
    """Of the sums of the embeddings of two images and their mirror images."""
    rows = embed(np.stack(images)) + embed(np.stack(images)[:, :, ::-1])
    return rows[0] @ rows[1] / np.sqrt(rows[0] @ rows[0]) / np.sqrt(rows[1] @ rows[1])


def evaluated(capsys, *arguments):
    """Values of the JSON that a command prints, and what it logs."""
    assert main([*map(str, arguments), "--model", "m", "--size", str(SIZE), "--json"]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def failure(capsys, *arguments):
    assert main([*map(str, arguments), "--model", "m", "--size", str(SIZE)]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    return printed.err.splitlines()[-1]


def write_set(path, num_pairs=60, seed=0):
    """A verification set; returns its images and issame."""
    random = np.random.RandomState(seed)
    issame = random.rand(num_pairs) < 0.5
    images = random.randint(0, 256, (2 * num_pairs, SIZE, SIZE, 3))
    images[1::2][issame] = (images[0::2][issame] + images[1::2][issame]) // 2
    encoded = [encode_jpeg(image.astype(np.uint8)) for image in images]
    save_verification_set(path, encoded, issame)
    return np.stack([decode_image(image, (SIZE, SIZE)) for image in encoded]), issame


def test_the_cosine_of_two_crops(here, capsys):
    found, log = evaluated(capsys, "pair", "a.png", "b.png")
    expected = cosine(here, face(ord("a"), 0, SIZE), face(ord("b"), 0, SIZE))
    assert found["cosine"] == pytest.approx(expected, abs=1e-6) and "aligned" not in log
    assert (found["protocol"], found["left"], found["right"]) == ("pair", "a.png", "b.png")
    assert found["threshold"] is None and found["same"] is None
    assert evaluated(capsys, "pair", "a.png", "a.png")[0]["cosine"] == pytest.approx(1)


def test_the_text_for_people(here, capsys):
    write_set("val.bin")
    arguments = ["pair", "a.png", "a.png", "--model", "m", "--size", str(SIZE)]
    assert main(arguments) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last == "decision   none: --calibrate or --threshold is needed".replace("   ", "  ")
    assert main([*arguments, "--calibrate", "val.bin", "--far", "1e-1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["model", "photos", "cosine", "threshold", "decision"]
    assert lines[2].split() == ["cosine", "1.0000"] and lines[4].split()[1:] == ["same", "person"]
    assert "on val it accepts at most 3 of 33 pairs of different people (FAR 1e-1), and " in lines[3]


@pytest.mark.parametrize("far", ["1e-1", "1e-2"])
def test_the_threshold_is_the_lowest_that_accepts_no_more_impostors(here, capsys, far):
    """Every score is tried; a set and the JSON of its evaluation give the same."""
    images, issame = write_set("val.bin", 400)
    rows = here(images) + here(images[:, :, ::-1])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = (rows[0::2] * rows[1::2]).sum(axis=1)
    allowed = [each for each in scores if np.mean(scores[~issame] >= each) <= float(far)]
    found, _ = evaluated(capsys, "pair", "a.png", "b.png", "--calibrate", "val.bin", "--far", far)
    threshold = found["threshold"]
    assert threshold["cosine"] == pytest.approx(min(allowed), abs=1e-6)
    assert threshold["tar"] == np.mean(scores[issame] >= min(allowed))
    assert threshold["tar_interval"]["low"] <= threshold["tar"] <= threshold["tar_interval"]["high"]
    assert (threshold["far"], threshold["data"]) == (float(far), "val")
    assert threshold["pairs_different"] == np.count_nonzero(~issame)
    assert found["same"] == (found["cosine"] >= min(allowed))
    assert main(["verification", "--model", "m", "--bin", "val.bin", "--json", "val.json"]) == 0
    capsys.readouterr()
    again, _ = evaluated(capsys, "pair", "a.png", "b.png", "--calibrate", "val.json", "--far", far)
    assert again.pop("cosine") == pytest.approx(found.pop("cosine"), abs=1e-6) and again == found


def test_a_pair_of_a_set_has_its_score(here, capsys):
    images, _ = write_set("val.bin")
    assert main(["verification", "--model", "m", "--bin", "val.bin", "--mistakes", "wrong"]) == 0
    with open("wrong/scores.csv") as file:
        score = float(file.read().splitlines()[8].split(",")[2])
    for place, name in enumerate(("left", "right")):
        write(f"{name}.png", images[14 + place])
    capsys.readouterr()
    found, _ = evaluated(capsys, "pair", "left.png", "right.png", "--threshold", score)
    assert found["cosine"] == pytest.approx(score, abs=1e-6)
    assert found["threshold"]["cosine"] == score and found["threshold"]["far"] is None


@pytest.mark.parametrize("threshold, same", [("0.2", True), ("1", False), ("-1", True)])
def test_a_given_threshold(here, capsys, threshold, same):
    write("half.png", (face(ord("a"), 0, SIZE) // 2 + face(9, 0, SIZE) // 2))
    found, _ = evaluated(capsys, "pair", "a.png", "half.png", f"--threshold={threshold}")
    assert 0.2 < found["cosine"] < 1 and found["same"] is same


def test_landmarks_align_photographs(here, capsys):
    """Against `align_face`; a photo without a line is a crop; a path may be written in another way."""
    points = TEMPLATE * 0.8 + (60, 40)
    photo = cv2.resize(face(4, 0, 24), (240, 180), interpolation=cv2.INTER_CUBIC)
    write("photo.png", photo)
    with open("points.txt", "w") as file:
        file.write("./photo.png " + " ".join(map(str, points.ravel())) + "\n")
    found, log = evaluated(capsys, "pair", "photo.png", "a.png", "--landmarks", "points.txt")
    expected = cosine(here, align_face(photo, points, SIZE), face(ord("a"), 0, SIZE))
    assert found["cosine"] == pytest.approx(expected, abs=1e-4) and "not look like" not in log


@pytest.mark.parametrize(
    "height, width, warned", [(16, 16, 0), (8, 8, 0), (32, 32, 0), (33, 33, 1), (7, 7, 1), (1, 1, 1), (20, 16, 1)]
)
def test_what_does_not_look_like_a_crop_is_warned_of(here, capsys, height, width, warned):
    image = face(5, 0, 40)[:height, :width]
    write("c.png", image)
    found, log = evaluated(capsys, "pair", "a.png", "c.png")
    expected = cosine(here, face(ord("a"), 0, SIZE), middle_square(image, SIZE))
    assert found["cosine"] == pytest.approx(expected, abs=1e-6)
    warning = f"do not look like aligned faces of 16 x 16 pixels: c.png (width {width}, height {height}). Their middle"
    assert log.count(f"1 of 2 photos have no landmarks and {warning}") == log.count("not look like") == warned


def test_one_warning_for_a_gallery_of_photographs(here, capsys):
    for number in range(8):
        write(f"gallery/{number}.png", face(number, 0, 40))
    _, log = evaluated(capsys, "identify", "a.png", "--gallery", "gallery")
    (line,) = [line for line in log.splitlines() if "aligned faces" in line]
    named = ", ".join(f"gallery/{number}.png (width 40, height 40)" for number in range(5))
    assert line.startswith("8 of 9 photos have") and f": {named} and 3 more. Their" in line


def test_gray_images(here, capsys):
    gray = face(6, 0, SIZE)[..., 0]
    assert cv2.imwrite("gray.png", gray) and cv2.imwrite("gray.jpg", gray)
    expected = cosine(here, face(ord("a"), 0, SIZE), np.repeat(gray[..., None], 3, axis=2))
    assert evaluated(capsys, "pair", "a.png", "gray.png")[0]["cosine"] == pytest.approx(expected, abs=1e-6)
    assert evaluated(capsys, "pair", "a.png", "gray.jpg")[0]["cosine"] == pytest.approx(expected, abs=0.1)


def test_photos_that_cannot_be_read(here, capsys):
    with open("broken.png", "wb") as file:
        file.write(open("a.png", "rb").read()[:60])
    open("empty.jpg", "w").close()
    os.mkdir("folder")
    assert failure(capsys, "pair", "a.png", "broken.png").startswith("error: broken.png: damaged PNG")
    assert failure(capsys, "pair", "empty.jpg", "a.png").startswith("error: empty.jpg: 0 bytes that are not an image")
    assert failure(capsys, "pair", "a.png", "gone.png") == "error: photo gone.png: no such file"
    assert failure(capsys, "pair", "a.png", "folder") == "error: photo folder: is a folder, not a file"
    with open("points.txt", "w") as file:
        file.write("a.png" + " 5" * 10)
    reported = failure(capsys, "pair", "a.png", "b.png", "--landmarks", "points.txt")
    assert reported == "error: a.png: its points in points.txt are all the same"


def test_a_model_of_another_size(here, capsys):
    write_linear_model("m", 20)
    assert "images of 16x16 pixels (height x width) would need" in failure(capsys, "pair", "a.png", "b.png")


def test_wrong_thresholds(here, capsys):
    write_set("val.bin")
    write_set("other.bin", seed=1)
    pair = ["pair", "a.png", "b.png"]
    few = "33 pairs of different people give no threshold for FAR 1e-3: it needs at least 1,000; choose a higher --far"
    assert few in failure(capsys, *pair, "--calibrate", "val.bin")
    assert "--threshold 1.5: must lie between -1 and 1" in failure(capsys, *pair, "--threshold", "1.5")
    assert main(["verification", "--model", "m", "--bin", "val.bin", "other.bin", "--json", "two.json"]) == 0
    assert main(["verification", "--model", "m", "--bin", "val.bin", "--json", "val.json"]) == 0
    capsys.readouterr()
    two = failure(capsys, *pair, "--calibrate", "two.json")
    assert "two.json: has 2 evaluations of this model, on val, other: give the JSON of one set" in two
    with open("val.json") as file:
        found = json.load(file)
    for key, value in (
        ("cosine_threshold", None),
        ("tar", {}),
        ("tar_interval", {"1e-1": 3}),
        ("pairs_different", "x"),
    ):
        with open("bad.json", "w") as file:
            json.dump({**found, key: value}, file)
        reported = failure(capsys, *pair, "--calibrate", "bad.json", "--far", "1e-1")
        assert reported == "error: bad.json: is not the JSON of `eval verification`, or of an earlier version"
    with open("bad.json", "w") as file:
        json.dump({**found, "cosine_threshold": {"1e-1": "nan"}}, file)
    assert "is not the JSON of" in failure(capsys, *pair, "--calibrate", "bad.json", "--far", "1e-1")
    for text in ("[1]", "{}", "[" * 10**5):
        with open("bad.json", "w") as file:
            file.write(text)
        assert failure(capsys, *pair, "--calibrate", "bad.json").startswith("error: bad.json: ")
    with open("bad.json", "w") as file:
        json.dump({**found, "cosine_threshold": {"1e-1": None}}, file)
    reported = failure(capsys, *pair, "--calibrate", "bad.json", "--far", "1e-1")
    assert "no threshold for FAR 1e-1: too many of them share the highest score; choose" in reported
    write_linear_model("m", SIZE, seed=8)
    reported = failure(capsys, *pair, "--calibrate", "val.json")
    assert reported.startswith("error: val.json: is not of m with these options")
    with pytest.raises(SystemExit):
        main([*pair, "--model", "m", "--calibrate", "x", "--threshold", "1"])


def write_gallery():
    """Three people in folders and two of one image; returns the images by path, of which some are like a.png."""
    base, images = face(ord("a"), 0, SIZE).astype(int), {}
    for number, (path, weight) in enumerate(
        [
            ("Ann/1.png", 0.2),
            ("Ann/2.png", 0.9),
            ("Ann.png", 0.1),
            ("Bob/x/10.png", 0.5),
            ("Bob/9.png", 0.6),
            ("Cy.png", 0.7),
        ]
    ):
        images[path] = (weight * base + (1 - weight) * face(50 + number, 0, SIZE)).astype(np.uint8)
        write(f"gallery/{path}", images[path])
    return images


def test_the_nearest_people(here, capsys):
    images = write_gallery()
    open("gallery/notes.txt", "w").close()
    found, log = evaluated(capsys, "identify", "a.png", "--gallery", "gallery", "--threshold", "0.9")
    scores = {path: cosine(here, face(ord("a"), 0, SIZE), image) for path, image in images.items()}
    people = {}
    for path, score in scores.items():
        name = path.split("/")[0].replace(".png", "")
        people[name] = max(people.get(name, (-1,)), (score, path))
    expected = sorted(((score, name, path) for name, (score, path) in people.items()), reverse=True)
    assert [each["name"] for each in found["nearest"]] == [name for _, name, _ in expected]
    assert [each["image"] for each in found["nearest"]] == [f"gallery/{path}" for *_, path in expected]
    assert [each["cosine"] for each in found["nearest"]] == pytest.approx([each[0] for each in expected], abs=1e-6)
    assert [each["same"] for each in found["nearest"]] == [each[0] >= 0.9 for each in expected]
    assert (found["people"], found["images"]) == (3, 6) and "skipped 1 files with other endings" in log
    top, _ = evaluated(capsys, "identify", "a.png", "--gallery", "gallery", "--top", "1")
    assert [each["name"] for each in top["nearest"]] == ["Ann"] and top["nearest"][0]["same"] is None


def test_what_a_gallery_makes_of_a_false_accept_rate(here, capsys):
    """Six images, each of which accepts a stranger at the rate of 1e-1."""
    write_gallery()
    write_set("val.bin")
    arguments = ["identify", "a.png", "--gallery", "gallery", "--calibrate", "val.bin", "--far", "1e-1"]
    assert main([*arguments, "--model", "m", "--size", str(SIZE)]) == 0
    printed = capsys.readouterr().out
    assert "a stranger is accepted for up to 0.6 of these 6 images on average" in printed
    assert "gallery: 6 images of 3 people" in " ".join(printed.split())
    assert printed.splitlines()[-3].split()[:2] == ["Ann", "gallery/Ann/2.png"]


def test_galleries_that_are_none(here, capsys):
    os.makedirs("gallery/empty")
    assert "gallery: no images" in failure(capsys, "identify", "a.png", "--gallery", "gallery")
    assert "--gallery nope: no such folder" in failure(capsys, "identify", "a.png", "--gallery", "nope")
    assert "--gallery a.png: is a file, not a folder" in failure(capsys, "identify", "a.png", "--gallery", "a.png")
    write_gallery()
    open("gallery/Cy.png", "w").close()
    reported = failure(capsys, "identify", "a.png", "--gallery", "gallery")
    assert reported.startswith("error: gallery/Cy.png: 0 bytes that are not an image")


def test_names_that_mean_harm(here, capsys):
    names = ["\x1b[31mred", "<script>", "q\"'`$(x)", "顔", "\udce9", "-rf", "a\tb"]
    for name in names:
        os.makedirs(os.path.join("gallery", name))
        with open("a.png", "rb") as source, open(os.path.join("gallery", name, "1.png"), "wb") as copy:
            copy.write(source.read())
    os.replace("b.png", "\x1b[2J.png")
    assert main(["identify", "\x1b[2J.png", "--gallery", "gallery", "--model", "m", "--size", "16", "--top", "9"]) == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err and "\\x1b[31mred" in printed.out and "\\x1b[2J.png" in printed.out
    found, _ = evaluated(capsys, "identify", "\x1b[2J.png", "--gallery", "gallery", "--top", "9")
    assert {each["name"] for each in found["nearest"]} == set(names)


def test_more_images_than_a_batch(here, capsys):
    images = write_gallery()
    whole, _ = evaluated(capsys, "identify", "a.png", "--gallery", "gallery")
    parts, _ = evaluated(capsys, "identify", "a.png", "--gallery", "gallery", "--batch-size", "2")
    assert len(images) > 2 and [each["name"] for each in parts["nearest"]] == [
        each["name"] for each in whole["nearest"]
    ]
    np.testing.assert_allclose(*([each["cosine"] for each in found["nearest"]] for found in (whole, parts)), atol=1e-6)
