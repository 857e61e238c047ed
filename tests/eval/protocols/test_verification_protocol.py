"""The command `eval verification` against the protocol written out, image by image and pair by pair."""

import json

import numpy as np
import pytest

from partial_fc.cli.eval.main import main
from partial_fc.data.images.decoding import decode_image, encode_jpeg
from partial_fc.data.verification_set import save_verification_set
from partial_fc.eval.embedding import Embedder
from partial_fc.eval.protocols.verification import verify

from helpers.models import write_linear_model
from reference import slow_evaluate

SIZE, PAIRS = 16, 60


def pictures(seed=0):
    """Encoded images of pairs, some of them more than once, and whether they are alike."""
    random = np.random.RandomState(seed)
    issame = random.rand(PAIRS) < 0.5
    images = random.randint(0, 256, (2 * PAIRS, SIZE, SIZE, 3))
    images[1::2][issame] = (images[0::2][issame] * 2 + images[1::2][issame]) // 3
    images[4:8] = images[4]
    return [encode_jpeg(image.astype(np.uint8)) for image in images], issame


@pytest.fixture
def saved(tmp_path):
    """Path of a set, its decoded images, issame, and the model as a function."""
    images, issame = pictures()
    save_verification_set(tmp_path / "val.bin", images, issame)
    embed = write_linear_model(tmp_path / "m", SIZE)
    return tmp_path, np.stack([decode_image(image, (SIZE, SIZE)) for image in images]), issame, embed


def figures(capsys, *arguments):
    assert main(["verification", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_equals_the_protocol_written_out(saved, capsys):
    folder, images, issame, embed = saved
    found = figures(capsys, "--model", folder / "m", "--bin", folder / "val.bin", "--batch-size", 7)
    plain, mirrored = embed(images), embed(images[:, :, ::-1])
    expected = slow_evaluate(plain, issame, 10)
    assert [found["accuracy"], found["accuracy_std"]] == pytest.approx(expected[:2])
    expected = slow_evaluate(plain + mirrored, issame, 10)
    assert [found["accuracy_flip"], found["accuracy_flip_std"], found["threshold"]] == pytest.approx(expected)
    norms = [np.sqrt((row**2).sum()) for row in (*plain, *mirrored)]
    assert found["xnorm"] == pytest.approx(np.mean(norms), rel=1e-5)
    assert (found["protocol"], found["data"], found["pairs"]) == ("verification", "val", PAIRS)


def test_auc_and_tar_are_counted(saved, capsys):
    folder, images, issame, embed = saved
    found = figures(capsys, "--model", folder / "m", "--bin", folder / "val.bin")
    rows = embed(images) + embed(images[:, :, ::-1])
    cosines = [a @ b / np.sqrt(a @ a) / np.sqrt(b @ b) for a, b in zip(rows[0::2], rows[1::2])]
    same = [cosine for cosine, kind in zip(cosines, issame) if kind]
    different = sorted((cosine for cosine, kind in zip(cosines, issame) if not kind), reverse=True)
    wins = [(a > b) + (a == b) / 2 for a in same for b in different]
    assert found["auc"] == pytest.approx(np.mean(wins))
    beyond = different[int(0.1 * len(different))]  # the first impostor pair that may not be accepted
    assert found["tar"]["1e-1"] == np.mean([cosine > beyond for cosine in same])
    assert list(found["tar"]) == ["1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6"]
    assert found["tar"]["1e-2"] is None  # of 1 / 0.01 = 100 pairs of different people there are fewer


def test_figures_without_mirror_images(saved, capsys):
    folder, images, issame, embed = saved
    found = figures(capsys, "--model", folder / "m", "--bin", folder / "val.bin")
    rows = embed(images)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = (rows[0::2] * rows[1::2]).sum(axis=1)
    wins = [(a > b) + (a == b) / 2 for a in scores[issame] for b in scores[~issame]]
    assert found["auc_no_flip"] == pytest.approx(np.mean(wins)) and found["auc_no_flip"] != found["auc"]
    beyond = sorted(scores[~issame], reverse=True)[int(0.1 * np.count_nonzero(~issame))]
    assert found["tar_no_flip"]["1e-1"] == np.mean(scores[issame] > beyond)
    assert found["threshold_no_flip"] == pytest.approx(slow_evaluate(embed(images), issame, 10)[2])
    assert list(found["tar_no_flip"]) == list(found["tar"])


def test_equals_what_is_reported_in_training(saved, capsys):
    folder, images, issame, embed = saved
    found = figures(capsys, "--model", folder / "m", "--bin", folder / "val.bin")
    trained = verify(embed, images, issame)
    assert [found["accuracy_flip"], found["threshold"]] == pytest.approx([trained.accuracy, trained.threshold])
    assert found["xnorm"] == pytest.approx(trained.xnorm)


def test_models_times_sets(saved, capsys):
    folder = saved[0]
    write_linear_model(folder / "other", SIZE, seed=9)
    images, issame = pictures(1)
    save_verification_set(folder / "second.bin", images, issame)
    models, sets = [str(folder / "m"), f"{folder}/other,0"], [folder / "val.bin", folder / "second.bin"]
    found = figures(capsys, "--model", *models, "--bin", *sets)
    assert [(each["model"], each["data"]) for each in found] == [(m, d) for m in models for d in ("val", "second")]
    assert len({each["auc"] for each in found}) == 4


@pytest.mark.parametrize("kind", [True, False])
def test_pairs_of_one_kind_have_an_accuracy_and_no_curve(saved, capsys, kind):
    folder, images, _, _ = saved
    save_verification_set(folder / "val.bin", pictures()[0], np.full(PAIRS, kind))
    found = figures(capsys, "--model", folder / "m", "--bin", folder / "val.bin")
    assert 0 <= found["accuracy_flip"] <= 1 and found["auc"] is None
    assert set(found["tar"].values()) == {None}


@pytest.mark.parametrize(
    "scales_input, words, why",
    [
        (True, "pixels as they are", "because it begins with _minus_scalar; mean and scale override this"),
        (False, "(pixel - 127.5) * 0.0078125", "because it begins with FullyConnected; mean and scale override"),
    ],
)
def test_scaling_is_reported_and_can_be_given(saved, capsys, scales_input, words, why):
    folder, images, issame, _ = saved
    embed = write_linear_model(folder / "m", SIZE, scales_input=scales_input)
    arguments = ["--model", folder / "m", "--bin", folder / "val.bin"]
    assert main(["verification", *map(str, arguments), "--json"]) == 0
    printed = capsys.readouterr()
    assert f"{folder}/m: the network gets {words}, {why}" in printed.err
    settings = json.loads(printed.out)["settings"]
    assert settings["scaling"] == "guessed" and settings["scale"] == (1 if scales_input else 0.0078125)
    found = figures(capsys, *arguments, "--mean", 30, "--scale", 0.5)
    assert found["settings"].pop("checksum").endswith("-mean30.0-scale0.5")
    assert found["settings"] == {"mean": 30, "scale": 0.5, "scaling": "given"}
    pixels = (images - 30.0) / 2
    expected = slow_evaluate(embed(pixels if scales_input else pixels * 128 + 127.5), issame, 10)
    assert [found["accuracy"], found["accuracy_std"]] == pytest.approx(expected[:2])


@pytest.mark.parametrize(
    "arguments, message",
    [(["--mean", "0"], "--mean and --scale belong together"), (["--scale", "1"], "--mean and --scale belong together")],
)
def test_half_a_scaling(saved, capsys, arguments, message):
    assert message in error(capsys, "--model", saved[0] / "m", "--bin", saved[0] / "val.bin", *arguments)


@pytest.mark.parametrize(
    "arguments, expected",
    [(("--mean", "nan"), "expected "), (("--scale", "0"), "must not be 0"), (("--scale", "inf"), "expected ")],
)
def test_scalings_that_are_none(capsys, arguments, expected):
    with pytest.raises(SystemExit):
        main(["verification", "--model", "m", "--bin", "b", *arguments])
    assert f"error: {arguments[0]}: {expected}" in capsys.readouterr().err


def error(capsys, *arguments):
    assert main(["verification", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.splitlines()[-1]


def test_embeddings_that_are_not_finite_are_refused(saved, capsys, monkeypatch):
    folder = saved[0]
    monkeypatch.setattr(Embedder, "_forward", lambda self, part: np.full((len(part), 6), np.nan))
    reported = error(capsys, "--model", folder / "m", "--bin", folder / "val.bin")
    assert reported == f"error: {folder}/val.bin: image 0: its embedding is not finite"


def test_wrong_arguments_are_one_line(saved, capsys):
    folder, model = saved[0], saved[0] / "m"
    save_verification_set(folder / "few.bin", pictures()[0][:18], [True] * 9)
    reported = error(capsys, "--model", model, "--bin", folder / "few.bin")
    assert reported == f"error: {model} on few: 9 pairs cannot be split into 10 folds"
    assert "nowhere.bin" in error(capsys, "--model", model, "--bin", "nowhere.bin")
    assert "no file nowhere-symbol.json" in error(capsys, "--model", "nowhere", "--bin", folder / "val.bin")
    reported = error(capsys, "--model", model, "--bin", folder / "val.bin", "--size", 8)
    assert "images of 8x8 pixels (height x width) would need (6, 192)" in reported
    reported = error(capsys, "--model", model, "--bin", folder / "val.bin", "--roc", folder / "no" / "roc.png")
    assert reported.startswith(f"error: --roc {folder}/no/roc.png: ")
