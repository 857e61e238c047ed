"""The commands ijb, ifrt and megaface from files to figures, against the same figures from a model in NumPy."""

import csv
import errno
import json

import cv2
import numpy as np
import pytest

from partial_fc.cli.eval.main import main
from partial_fc.data.images.align import TEMPLATE
from partial_fc.errors import FAILED
from partial_fc.eval.protocols.ifrt import count_pairs, ifrt_result, image_groups
from partial_fc.eval.protocols.megaface import megaface_result
from partial_fc.eval.protocols.unit_features import UnitFeatures

from helpers.models import write_linear_model
from helpers.paths import ROOT
from helpers.protocols import IFRT, SIZE, write_ijb, write_images, write_megaface
from helpers.ranks import run, succeed


def figures(capsys, *arguments):
    """What a command prints as JSON."""
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def failure(capsys, *arguments):
    """The error of a command that must fail."""
    assert main(list(map(str, arguments))) == 2
    return capsys.readouterr().err


@pytest.fixture
def embed(tmp_path):
    return write_linear_model(tmp_path / "m", SIZE)


def test_ifrt(tmp_path, capsys, embed):
    images = write_images(tmp_path / "ifrt", IFRT)
    groups = image_groups(IFRT, "")
    keep = tmp_path / "kept"
    keep.mkdir()
    for flip in (False, True):
        features = embed(images) + (embed(images[:, :, ::-1]) if flip else 0)
        expected = ifrt_result(count_pairs(UnitFeatures(features, ""), groups), "m")
        found = figures(
            capsys,
            "ifrt",
            "--images",
            tmp_path / "ifrt",
            "--model",
            tmp_path / "m",
            "--keep",
            keep,
            "--roc",
            tmp_path / "roc.png",
            *["--flip"] * flip,
        )
        assert (found.pop("protocol"), found.pop("data"), found.pop("model")) == ("ifrt", "IFRT", str(tmp_path / "m"))
        assert found.pop("settings") == {"mean": 0, "scale": 1, "scaling": "guessed"}
        assert found == json.loads(json.dumps(expected.figures)) and len(found) == 6
    assert len(list(keep.glob("*.npy"))) == 2 and (tmp_path / "roc.png").stat().st_size > 1000
    saved = sorted(keep.glob("IFRT-flip-*.npy"))[0]
    assert figures(capsys, "ifrt", "--features", saved)["ALL"] == found["ALL"]
    (tmp_path / "list").write_text("\n".join(IFRT[:-1]))
    message = failure(capsys, "ifrt", "--features", saved, "--list", tmp_path / "list")
    assert "16 rows of features for 15 images" in message
    (keep / saved.with_suffix(".txt").name).unlink()
    assert "is missing: name one with --list" in failure(capsys, "ifrt", "--features", saved)
    assert "--model needs --images" in failure(capsys, "ifrt", "--model", tmp_path / "m")
    assert "--model, or --features, or both are needed" in failure(capsys, "ifrt", "--images", tmp_path / "ifrt")


def test_megaface(tmp_path, capsys, embed):
    lists, (probes, distractors) = write_megaface(tmp_path)
    features = [embed(images) + embed(images[:, :, ::-1]) for images in (probes, distractors)]
    expected = megaface_result(features[0], [0] * 3 + [1] * 4, features[1], "m").figures
    images = ["--probe-images", tmp_path / "fs", "--distractor-images", tmp_path / "mf", "--model", tmp_path / "m"]
    found = figures(capsys, "megaface", *lists, *images, "--write-features", tmp_path / "kit", "--ending", "_m.bin")
    assert {name: found[name] for name in expected} == expected
    assert (expected["probes"], expected["people"], expected["distractors"]) == (7, 2, 19)
    kit = ["--probe-features", tmp_path / "kit" / "facescrub", "--distractor-features", tmp_path / "kit" / "megaface"]
    again = figures(capsys, "megaface", *lists, *kit, "--ending", "_m.bin")
    assert {**again, "model": found["model"], "settings": found["settings"]} == found
    for wrong, message in (
        (images[:2], "--probe-images and --distractor-images belong together"),
        ([], "--model with images, or features, or both are needed"),
        (images[:4], "--model with images, or features, or both are needed"),
        (images[4:], "--model belongs to --probe-images"),
        (kit, "files of features need --ending"),
        ([*kit, "--ending", "_m.bin", "--write-features", "x"], "--write-features is for one --model"),
        ([*kit, "--ending", "_n.bin"], "Al_B_0.png_n.bin: cannot be read"),
    ):
        assert message in failure(capsys, "megaface", *lists, *wrong)


def test_ijb(tmp_path, capsys, embed):
    """Landmarks at the template's places, so that alignment changes nothing."""
    images = write_ijb(tmp_path / "ijb", TEMPLATE * SIZE / 112, SIZE)
    common = ["ijb", tmp_path / "ijb", "--dataset", "IJBC"]
    found = figures(capsys, *common, "--model", tmp_path / "m", "--size", SIZE)
    assert found["pairs"] == {"same": 6, "different": 9} and 0 < found["auc"] < 1
    assert [found["tar"][far] for far in ("1e-6", "1e-1")] == [None, None]
    features = np.concatenate([embed(images), embed(images[:, :, ::-1])], axis=1).astype(np.float32)
    np.save(tmp_path / "halves.npy", features)
    again = figures(capsys, *common, "--features", tmp_path / "halves.npy", "--halves")
    assert again["auc"] == found["auc"] and again["model"] == str(tmp_path / "halves.npy")
    assert again["settings"] == {"embeddings": "unit"} and found["settings"]["embeddings"] == "unit"
    assert figures(capsys, *common, "--features", tmp_path / "halves.npy")["settings"] == {"embeddings": "as saved"}
    np.save(tmp_path / "short.npy", features[:11])
    assert "11 rows of features for 12 images" in failure(capsys, *common, "--features", tmp_path / "short.npy")
    assert "--model, or --features, or both are needed" in failure(capsys, *common)
    message = failure(capsys, "ijb", tmp_path / "ijb", "--dataset", "IJBB", "--model", tmp_path / "m")
    assert "ijbb_face_tid_mid.txt: cannot be read" in message


def test_mistakes_of_ijb(tmp_path, capsys, embed):
    """Wrong pairs of templates by hand; the pictures are those of the first image of each, as all have one score."""
    images = write_ijb(tmp_path / "ijb", TEMPLATE * SIZE / 112, SIZE)
    listed = tmp_path / "ijb" / "meta" / "ijbc_template_pair_label.txt"
    listed.write_text(2 * listed.read_text())
    common = ["ijb", tmp_path / "ijb", "--dataset", "IJBC", "--size", SIZE, "--mistakes"]
    figures(capsys, *common, tmp_path / "wrong", "--model", tmp_path / "m")
    with open(tmp_path / "wrong" / "scores.csv") as file:
        rows = [(int(same), float(score)) for _, same, score in list(csv.reader(file))[1:]]
    threshold = sorted({score for same, score in rows if not same}, reverse=True)[0]  # of 18, one might be accepted
    expected = {index for index, (same, score) in enumerate(rows) if (score > threshold) != same}
    with open(tmp_path / "wrong" / "mistakes.csv") as file:
        found = list(csv.DictReader(file))
    assert {int(each["index"]) for each in found} == expected and expected
    pairs = [tuple(map(int, line.split()[:2])) for line in listed.read_text().splitlines()]
    for each in found:
        index = int(each["index"])
        for template, side in zip(pairs[index], ("left", "right")):
            assert each[side] == f"template {template}: {2 * template}.jpg"
            picture = cv2.imread(str(tmp_path / "wrong" / f"{index:05d}-{side}.png"))[..., ::-1]
            np.testing.assert_array_equal(picture, images[2 * template])
    both = [*common, tmp_path / "x.csv", "--model", tmp_path / "m", tmp_path / "m"]
    assert "--mistakes is for one --model, or one file of --features" in failure(capsys, *both)


def full(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device", "there")


def test_figures_of_ijb_do_not_depend_on_the_mistakes(tmp_path, capsys, monkeypatch, embed):
    """With too few pairs for a threshold, and on a full disk."""
    write_ijb(tmp_path / "ijb", TEMPLATE * SIZE / 112, SIZE)
    common = ["ijb", tmp_path / "ijb", "--dataset", "IJBC", "--size", SIZE, "--model", tmp_path / "m"]
    expected = figures(capsys, *common)
    common += ["--mistakes", tmp_path / "wrong", "--json"]
    assert "--mistakes: no threshold: " in failure(capsys, *common, tmp_path / "few.json")
    monkeypatch.setattr("partial_fc.eval.protocols.ijb.judge_templates", lambda cosines, pairs: None)
    monkeypatch.setattr("partial_fc.eval.mistakes.write_mistakes", full)
    assert main([*map(str, common), str(tmp_path / "full.json")]) == FAILED
    assert "No space left on device: 'there'" in capsys.readouterr().err
    assert [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("few", "full")] == [expected] * 2


def test_figures_of_megaface_do_not_depend_on_the_files_of_features(tmp_path, capsys, monkeypatch, embed):
    lists, _ = write_megaface(tmp_path)
    images = ["--probe-images", tmp_path / "fs", "--distractor-images", tmp_path / "mf", "--model", tmp_path / "m"]
    command = ["megaface", *lists, *images, "--write-features", tmp_path / "kit", "--ending", "_m.bin", "--json"]
    monkeypatch.setattr("partial_fc.eval.protocols.megaface_files.write_for_kit", full)
    assert main([*map(str, command), str(tmp_path / "out.json")]) == FAILED
    assert json.loads((tmp_path / "out.json").read_text())["probes"] == 7


def test_embeddings_of_ijb_are_added_as_asked(tmp_path, capsys, embed):
    """Both ways against sums by hand; features that are kept of one are not taken for those of the other."""
    images = write_ijb(tmp_path / "ijb", TEMPLATE * SIZE / 112, SIZE)
    common = ["ijb", tmp_path / "ijb", "--dataset", "IJBC", "--model", tmp_path / "m", "--size", SIZE]
    common += ["--keep", tmp_path]
    both = np.random.RandomState(1).randn(2, 12, 6) * [[[1]], [[3]]]
    sums = {"raw": sum(both), "unit": sum(each / np.linalg.norm(each, axis=1, keepdims=True) for each in both)}
    np.save(tmp_path / "halves.npy", np.concatenate(both, axis=1).astype(np.float32))
    aucs = set()
    for how, features in sums.items():
        np.save(tmp_path / "sums.npy", features.astype(np.float32))
        saved = [*common[:4], "--features", tmp_path / "halves.npy", "--halves", "--embeddings", how]
        expected = figures(capsys, *common[:4], "--features", tmp_path / "sums.npy")
        assert figures(capsys, *saved)["auc"] == expected["auc"]
        found = figures(capsys, *common, "--embeddings", how)
        kept = np.load(next(tmp_path.glob(f"IJBC-{'unit' if how == 'unit' else 'flip'}-*.npy")))
        both_of_images = [embed(images), embed(images[:, :, ::-1])]
        if how == "unit":
            both_of_images = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in both_of_images]
        np.testing.assert_allclose(kept, sum(both_of_images), atol=1e-4)
        aucs.add((expected["auc"], found["settings"]["embeddings"]))
    assert len(aucs) == 2 and len({auc for auc, _ in aucs}) == 2


def test_real_ranks(tmp_path, capsys, embed):
    """Two ranks embed, one measures; the figures are those of one. Without --keep one of them says what is needed."""
    write_images(tmp_path / "ifrt", IFRT)
    command = ["ifrt", "--images", str(tmp_path / "ifrt"), "--model", str(tmp_path / "m"), "--batch-size", "3"]
    expected = figures(capsys, *command)
    launcher = ["mpirun", "-np", "2", "--oversubscribe", "--bind-to", "none"]
    start = [*launcher, "python", "-m", "partial_fc", "eval", *command]
    succeed(run([*start, "--keep", str(tmp_path), "--json", str(tmp_path / "out.json")], PYTHONPATH=ROOT + "/src"))
    assert json.loads((tmp_path / "out.json").read_text()) == expected
    process = run(start, PYTHONPATH=ROOT + "/src")
    assert process.returncode == 2 and process.stdout.count("several ranks need --keep DIR") == 1
