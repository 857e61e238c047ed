"""Features of many images: what is in the files, on one rank and on real ones, after a kill, and when asked again."""

import json
import os

import numpy as np
import pytest

from partial_fc.cli.eval.main import main
from partial_fc.data.images.decoding import decode_image, encode_jpeg
from partial_fc.data.records.record_writer import write_records
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError
from partial_fc.eval import unfinished_features
from partial_fc.eval.embed import embed
from partial_fc.eval.embedding import Embedder
from partial_fc.eval.image_source import FileImages, RecordImages
from partial_fc.eval.model import load_model

from helpers.faces import face
from helpers.models import write_linear_model
from helpers.ranks import LAUNCHERS, launch, succeed
from helpers.shards import Shards

SIZE = 16


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(unfinished_features, "BLOCK_ROWS", 8)


@pytest.fixture
def data(tmp_path):
    """Folder with 45 images in records and a model; and what features they have."""
    images = [[encode_jpeg(face(person, image, SIZE)) for image in range(9)] for person in range(5)]
    write_records(str(tmp_path / "train.rec"), images)
    expected = write_linear_model(tmp_path / "m", SIZE)
    pixels = np.stack([decode_image(image, (SIZE, SIZE)) for person in images for image in person])
    return tmp_path, expected(pixels), expected(pixels[:, :, ::-1])


def arguments(folder, out="f.npy", *more):
    """Of the command."""
    found = ["embed", folder / out, "--rec", folder / "train.rec", "--model", folder / "m", "--batch-size", 3, *more]
    return [str(each) for each in found]


def on_ranks(folder, world_size, out="f.npy", **options):
    """Embed on ranks in threads; returns the number of images that were computed."""

    def rank(comm):
        own = Embedder(load_model(str(folder / "m")), batch_size=3)
        return embed(RecordImages(str(folder / "train.rec")), own, str(folder / out), comm, **options)

    (count,) = set(Shards(world_size).run(rank))
    return count


def close(path, expected):
    features = np.load(path)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-4)


def test_features_and_what_they_are_of(data):
    folder, plain, mirrored = data
    assert main(arguments(folder)) == main(arguments(folder, "sum.npy", "--flip")) == 0
    close(folder / "f.npy", plain)
    close(folder / "sum.npy", plain + mirrored)
    assert (folder / "f.txt").read_text().splitlines()[8:10] == ["9\t0", "10\t1"]
    reported = json.loads((folder / "f.json").read_text())
    assert reported["model"] == load_model(str(folder / "m")).checksum and reported["images"] == 45
    assert sorted(os.listdir(folder))[:3] == ["f.json", "f.npy", "f.txt"]


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_any_number_of_ranks_writes_the_same_bytes(data, world_size):
    folder = data[0]
    assert on_ranks(folder, 1, "one.npy") == on_ranks(folder, world_size) == 45
    assert (folder / "f.npy").read_bytes() == (folder / "one.npy").read_bytes()


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_real_ranks(data, launcher):
    folder = data[0]
    on_ranks(folder, 1, "one.npy")
    succeed(launch(launcher, 2, "embed_worker.py", "live", *arguments(folder)))
    assert (folder / "f.npy").read_bytes() == (folder / "one.npy").read_bytes()


def test_goes_on_after_a_kill(data):
    folder = data[0]
    on_ranks(folder, 1, "one.npy")
    process = launch("mpi", 2, "embed_worker.py", "die", *arguments(folder))
    assert process.returncode != 0 and not (folder / "f.npy").exists()
    left = on_ranks(folder, 1)
    assert 45 - 4 * 8 <= left <= 45 - 2 * 8  # of a rank's two blocks, and the other's at that time
    assert (folder / "f.npy").read_bytes() == (folder / "one.npy").read_bytes()
    assert not (folder / ".f.npy.unfinished").exists()


def test_is_not_computed_twice(data):
    folder = data[0]
    assert [on_ranks(folder, 2), on_ranks(folder, 2), on_ranks(folder, 2, overwrite=True)] == [45, 0, 45]
    (folder / "f.txt").unlink()
    with pytest.raises(
        CollectiveError, match="f.npy exists, of other images or another model: `overwrite` replaces it"
    ):
        on_ranks(folder, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: write_linear_model(folder / "m", SIZE, seed=4),
        lambda folder: os.utime(folder / "train.rec", (1, 1)),
    ],
)
def test_other_models_and_images_replace_nothing_unless_reported(data, change):
    folder = data[0]
    on_ranks(folder, 1)
    before = (folder / "f.npy").read_bytes()
    change(folder)
    with pytest.raises(CollectiveError, match="f.npy exists, of other images or another model"):
        on_ranks(folder, 1)
    with pytest.raises(CollectiveError, match="f.npy exists"):
        on_ranks(folder, 1, flip=True)
    assert (folder / "f.npy").read_bytes() == before
    assert [on_ranks(folder, 1, overwrite=True), on_ranks(folder, 1)] == [45, 0]


def test_a_bad_image_ends_all_ranks_and_is_named(data):
    folder = data[0]
    content = bytearray((folder / "train.rec").read_bytes())
    place = RecordImages(str(folder / "train.rec"))._records.positions[12] + 200  # the second block: rank 1's
    content[place : place + 100] = bytes(100)
    (folder / "train.rec").write_bytes(content)
    with pytest.raises(CollectiveError, match="rank 1: .*train.rec: record 12: damaged"):
        on_ranks(folder, 2)
    assert not (folder / "f.npy").exists()


def test_embeddings_that_are_not_finite_are_named(data, monkeypatch):
    forward = Embedder._forward

    def broken(self, part):
        return np.where(part[:, :1, 0, 0] == part[-1, 0, 0, 0], np.nan, forward(self, part))

    monkeypatch.setattr(Embedder, "_forward", broken)
    with pytest.raises(CollectiveError, match=r"^3\t0: its embedding is not finite"):
        on_ranks(data[0], 1)


def test_ranks_with_other_models_are_reported(data):
    folder = data[0]
    write_linear_model(folder / "other", SIZE, seed=4)

    def rank(comm):
        own = Embedder(load_model(str(folder / ("other" if comm.rank else "m"))))
        embed(RecordImages(str(folder / "train.rec")), own, str(folder / "f.npy"), comm)

    with pytest.raises(CollectiveError, match="^rank 1: was started with other images or another model than rank 0"):
        Shards(2).run(rank)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (["no/f.npy", "--rec", "train.rec"], "error: no/f.npy: there is no folder"),
        (["f.txt", "--rec", "train.rec"], "error: f.txt: the name must end in .npy"),
        (["f.npy"], "error: --images DIR, or --list FILE"),
        (["f.npy", "--rec", "train.rec", "--images", "."], "error: --images DIR, or"),
        (["f.npy", "--rec", "train.rec", "--size", "8"], "error: --model m: its parameter fc1_weight"),
    ],
)
def test_wrong_arguments_are_one_line(data, capsys, monkeypatch, wrong, message):
    monkeypatch.chdir(data[0])
    assert main(["embed", *wrong, "--model", "m"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)


@pytest.fixture
def with_bad_images(data):
    """Arguments to embed 45 files in `images`, of which these are bad: the first, two of a later block, the last."""
    folder, plain, _ = data
    (folder / "images").mkdir()
    source = RecordImages(str(folder / "train.rec"))
    for row in range(45):
        image = encode_jpeg(face(0, row, 20)) if row == 44 else source._records.read(source._records.keys[row])[0]
        (folder / "images" / f"{row}.jpg").write_bytes(b"" if row == 0 else image[:200] if row in (20, 22) else image)
    kept = [row for row in range(45) if row not in (0, 20, 22, 44)]
    arguments = ["--images", folder / "images", "--model", folder / "m", "--batch-size", 3]
    return folder, [str(each) for each in arguments], kept, plain[kept]


def test_bad_images_are_skipped_and_listed(with_bad_images, capsys):
    folder, arguments, kept, expected = with_bad_images
    assert main(["embed", str(folder / "f.npy"), *arguments, "--on-bad-image", "skip"]) == 0
    close(folder / "f.npy", expected)
    assert (folder / "f.txt").read_text().splitlines() == [f"{row}.jpg" for row in kept]
    skipped = [line.split("\t") for line in (folder / "f.skipped.txt").read_text().splitlines()]
    assert [name for name, _ in skipped] == ["0.jpg", "20.jpg", "22.jpg", "44.jpg"]
    assert "damaged JPEG" in skipped[1][1] and "20x20 pixels (height x width), expected 16x16" in skipped[3][1]
    assert json.loads((folder / "f.json").read_text())["skipped"] == 4
    reported = capsys.readouterr().err
    assert f"{folder}/f.npy: 41 x {expected.shape[1]} features; computed 45 images now" in reported
    assert (
        f"skipped 4 of 45 images, see {folder}/f.skipped.txt" in reported and "images/22.jpg: damaged JPEG" in reported
    )


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_real_ranks_skip_the_same_images(with_bad_images, launcher):
    folder, arguments, _, _ = with_bad_images
    arguments += ["--on-bad-image", "skip"]
    (folder / "images" / "notes.txt").touch()
    assert main(["embed", str(folder / "one.npy"), *arguments]) == 0
    log = succeed(launch(launcher, 2, "embed_worker.py", "live", "embed", folder / "f.npy", *arguments))
    assert log.count("skipped 1 files with other endings") == log.count("skipped 4 of 45 images") == 1
    for ending in (".npy", ".txt", ".skipped.txt", ".json"):
        assert (folder / f"f{ending}").read_bytes() == (folder / f"one{ending}").read_bytes()


def test_skipped_images_after_a_kill(with_bad_images, capsys):
    """What was skipped before is not lost, and an error when it is not to be skipped."""
    folder, arguments, kept, expected = with_bad_images
    skip = [*arguments, "--on-bad-image", "skip"]
    assert launch("mpi", 2, "embed_worker.py", "die", "embed", folder / "f.npy", *skip).returncode
    journals = [path.read_text() for path in (folder / ".f.npy.unfinished").glob("journal-*")]
    assert sum(journal.count("damaged JPEG") for journal in journals) in (1, 2, 3, 4)
    assert main(["embed", str(folder / "f.npy"), *skip]) == 0
    close(folder / "f.npy", expected)
    assert len((folder / "f.skipped.txt").read_text().splitlines()) == 4
    capsys.readouterr()
    assert main(["embed", str(folder / "f.npy"), *skip]) == 0
    assert "exists already, with the features of these images" in capsys.readouterr().err


def skipping(folder, images, skip_bad, comm, **options):
    own = Embedder(load_model(str(folder / "m")), batch_size=3)
    source = FileImages(str(folder / "images"), images, SIZE, skip_bad=skip_bad)
    return embed(source, own, str(folder / "f.npy"), comm, on_bad_image="skip" if skip_bad else "error", **options)


def test_a_run_that_stopped_at_a_bad_image_goes_on_with_skip(with_bad_images):
    folder = with_bad_images[0]
    images = [f"{row}.jpg" for row in range(1, 45)]
    with pytest.raises(CollectiveError, match="20.jpg: damaged"):
        skipping(folder, images, False, Communicator())
    assert skipping(folder, images, True, Communicator()) == 44 - 2 * 8  # blocks of 8
    assert len(np.load(folder / "f.npy")) == 42
    with pytest.raises(CollectiveError, match="f.npy: an earlier run skipped 2 bad images: `on_bad_image` skip"):
        skipping(folder, images, False, Communicator())
    with pytest.raises(CollectiveError, match="none of 2 images can be used; the first: .*20.jpg: damaged"):
        skipping(folder, ["20.jpg", "22.jpg"], True, Communicator(), overwrite=True)


def test_features_of_another_scaling_are_others(with_bad_images, capsys):
    """They are neither taken for the same nor mixed with those of a run that was stopped."""
    folder, arguments, kept, expected = with_bad_images
    arguments += ["--on-bad-image", "skip"]
    own = ["--mean", "20", "--scale", "0.5"]
    assert launch("mpi", 2, "embed_worker.py", "die", "embed", folder / "f.npy", *arguments, *own).returncode
    assert main(["embed", str(folder / "f.npy"), *arguments]) == 0
    close(folder / "f.npy", expected)
    assert {key: json.loads((folder / "f.json").read_text())[key] for key in ("mean", "scale", "scaling")} == {
        "mean": 0,
        "scale": 1,
        "scaling": "guessed",
    }
    capsys.readouterr()
    assert main(["embed", str(folder / "f.npy"), *arguments, "--mean", "0", "--scale", "1"]) == 0
    assert "exists already, with the features of these images" in capsys.readouterr().err
    assert main(["embed", str(folder / "f.npy"), *arguments, *own]) == 2
    assert "f.npy exists, of other images or another model" in capsys.readouterr().err
    assert main(["embed", str(folder / "f.npy"), *arguments, *own, "--overwrite"]) == 0
    assert np.abs(np.load(folder / "f.npy") - expected).max() > 1
