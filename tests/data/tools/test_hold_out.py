import os
import re

import numpy as np
import pytest

from partial_fc.cli.data import main as commands
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.records.record_writer import write_records
from partial_fc.data.tools.check import check
from partial_fc.data.tools.copying import Reading
from partial_fc.data.tools.hold_out import hold_out_pairs
from partial_fc.data.verification_set import load_verification_set
from partial_fc.errors import InputError

from helpers.faces import face

NAMES = ["Ada", "Bo", "Cy", "Di", "Ed", "Fe"]
COUNTS = [4, 3, 5, 2, 1, 4]
FACES = [[encode_jpeg(face(person, image)) for image in range(count)] for person, count in enumerate(COUNTS)]


@pytest.fixture
def source(tmp_path):
    (tmp_path / "all").mkdir()
    write_records(str(tmp_path / "all" / "train.rec"), FACES)
    (tmp_path / "all" / "identities.txt").write_text("".join(name + "\n" for name in NAMES))
    return str(tmp_path / "all")


def text(*path):
    with open(os.path.join(*path)) as file:
        return file.read().splitlines()


def people_of(images):
    """Numbers of the people whose images these are, byte for byte."""
    return [next(person for person, own in enumerate(FACES) if image in own) for image in images]


def check_pairs(path, people, num_pairs):
    """They are of the people, half of them of the same one, and none is there twice."""
    images, issame = load_verification_set(path)
    shown = np.array(people_of(images)).reshape(-1, 2)
    assert issame.sum() == num_pairs and len(issame) == 2 * num_pairs
    assert ((shown[:, 0] == shown[:, 1]) == issame).all() and set(shown.ravel()) <= set(people)
    pairs = {frozenset(pair) for pair in zip(images[::2], images[1::2])}
    assert len(pairs) == 2 * num_pairs and all(len(pair) == 2 for pair in pairs)


def rest_of(out):
    records = RecordFile(os.path.join(out, "train.rec"))
    images = [[] for _ in range(records.num_identities)]
    for key in records.keys:
        image, label = records.read(key)
        images[label].append(image)
    return images


@pytest.mark.parametrize(
    "which, held", [(["--people", "2"], 2), (["--share", "0.5"], 3), (["--identities", "list"], 2)]
)
def test_people_are_held_out_and_paired(source, tmp_path, monkeypatch, which, held):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list").write_text("Cy\n0\n")
    arguments = ["pairs", source, "out", *which, "--random-pairs", "3", "--name", "val", "--seed", "3"]
    assert commands.main(arguments) == 0
    names = text("out", "val-identities.txt")
    people = [NAMES.index(name) for name in names]
    assert len(people) == held and (which[0] != "--identities" or names == ["Ada", "Cy"])
    rest = [person for person in range(6) if person not in people]
    assert rest_of("out") == [FACES[person] for person in rest]
    assert text("out", "identities.txt") == [NAMES[person] for person in rest]
    assert text("out", "property") == [f"{6 - held},32,32"] and check("out")["errors"] == 0
    check_pairs("out/val.bin", people, 3)
    assert sorted(os.listdir("out")) == [
        "identities.txt",
        "property",
        "train.idx",
        "train.rec",
        "val-identities.txt",
        "val.bin",
    ]


def test_files_are_a_function_of_the_arguments(source, tmp_path):
    contents = []
    for name, seed, workers in (("a", 1, 1), ("b", 1, 3), ("c", 2, 1)):
        hold_out_pairs(source, str(tmp_path / name), 2, share=0.5, seed=seed, reading=Reading(workers))
        names = ("heldout.bin", "heldout-identities.txt", "train.rec")
        contents.append([(tmp_path / name / each).read_bytes() for each in names])
    assert contents[0] == contents[1] and contents[0] != contents[2]
    listed = str(tmp_path / "a" / "heldout-identities.txt")  # can be given again
    hold_out_pairs(source, str(tmp_path / "d"), 2, identities=listed, seed=1)
    assert (tmp_path / "d" / "train.rec").read_bytes() == contents[0][2]


def test_a_name_that_several_people_have(source, tmp_path):
    """The list has their labels, and can be given again."""
    with open(os.path.join(source, "identities.txt"), "w") as file:
        file.write("Ada\nWang Wei\nWang Wei\nDi\nEd\nFe\n")
    (tmp_path / "list").write_text("Wang Wei\t2\nAda\n")
    for out, listed in (("a", tmp_path / "list"), ("b", tmp_path / "a" / "heldout-identities.txt")):
        hold_out_pairs(source, str(tmp_path / out), 6, identities=str(listed))
        assert text(tmp_path, out, "heldout-identities.txt") == ["Ada", "Wang Wei\t2"]
        assert text(tmp_path, out, "identities.txt") == ["Wang Wei", "Di", "Ed", "Fe"]
    (tmp_path / "list").write_text("Wang Wei\t3\n")
    with pytest.raises(InputError, match="list, line 1: 'Wang Wei.t3' is neither the name nor the label"):
        hold_out_pairs(source, str(tmp_path / "c"), 6, identities=str(tmp_path / "list"))
    (tmp_path / "list").write_text("Wang Wei\n")  # all of this name
    hold_out_pairs(source, str(tmp_path / "d"), 6, identities=str(tmp_path / "list"))
    assert text(tmp_path, "d", "heldout-identities.txt") == ["Wang Wei\t1", "Wang Wei\t2"]


def test_only_pairs(source, tmp_path):
    assert commands.main(["pairs", source, source, "--only-pairs", "--random-pairs", "5"]) == 0
    check_pairs(os.path.join(source, "heldout.bin"), range(6), 5)
    assert text(source, "heldout-identities.txt") == NAMES and rest_of(source) == FACES
    out = str(tmp_path / "out")
    assert commands.main(["pairs", source, out, "--only-pairs", "--people", "3", "--random-pairs", "1"]) == 0
    assert sorted(os.listdir(out)) == ["heldout-identities.txt", "heldout.bin"]
    assert len(text(out, "heldout-identities.txt")) == 3


def test_bad_images_are_in_no_pair(source, tmp_path, caplog):
    path, out = os.path.join(source, "train.rec"), str(tmp_path / "out")
    faces = [list(own) for own in FACES]
    faces[0][1] = faces[2][0] = b"not an image"
    write_records(path, faces)
    (tmp_path / "list").write_text("Ada\nBo\n")
    arguments = dict(identities=str(tmp_path / "list"), reading=Reading(2, "skip", 0.2))
    assert hold_out_pairs(source, out, 6, **arguments) == ((11, 4), 12, 2)
    check_pairs(os.path.join(out, "heldout.bin"), [0, 1], 6)  # all pairs of three and three images
    assert [record.getMessage() for record in caplog.records][-1] == "skipped 2 bad records"
    with pytest.raises(InputError, match="make 6 pairs of the same"):
        hold_out_pairs(source, str(tmp_path / "other"), 7, **arguments)
    assert not (tmp_path / "other" / "train.rec").exists() and not (tmp_path / "other" / "heldout.bin").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--people, --share or --identities is needed"),
        (["--people", "6"], "6 of the 6 identities"),
        (["--share", "1"], "--share 1: expected"),
        (["--people", "1"], "--random-pairs 3000: .* ask for"),
        (["--people", "2", "--name", "a/b"], "--name a/b"),
    ],
)
def test_wrong_arguments_write_nothing(source, tmp_path, capsys, arguments, message):
    assert commands.main(["pairs", source, str(tmp_path / "out"), *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_by_accident(source, tmp_path, capsys):
    out = str(tmp_path / "out")
    for name in ("heldout.bin", "heldout-identities.txt", "train.rec"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_text("mine")
        assert commands.main(["pairs", source, out, "--share", "0.5", "--random-pairs", "2"]) == 2
        assert f"{name} exists: --overwrite replaces it" in capsys.readouterr().err
        assert (tmp_path / "out" / name).read_text() == "mine"
        os.remove(os.path.join(out, name))
    (tmp_path / "out" / "train.rec").write_text("mine")
    assert commands.main(["pairs", source, source, "--share", "0.5", "--random-pairs", "2", "--overwrite"]) == 2
    assert "is the folder of a source" in capsys.readouterr().err
    assert commands.main(["pairs", source, out, "--share", "0.5", "--random-pairs", "2", "--overwrite"]) == 0
    assert len(rest_of(out)) == 3


def test_unfinished_files_of_a_killed_run_are_removed(source, tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("val.bin", "val-identities.txt", "train.rec"):
        (tmp_path / "out" / f".{name}.4711.tmp").write_bytes(b"half")
    hold_out_pairs(source, str(tmp_path / "out"), 2, "val", number=3)
    assert not [name for name in os.listdir(tmp_path / "out") if name.endswith(".tmp")]


def test_without_the_pairs_there_are_no_records_either(source, tmp_path):
    (tmp_path / "out" / "heldout.bin").mkdir(parents=True)  # so that the file cannot be written, as on a full disk
    with pytest.raises(OSError, match="heldout.bin"):
        hold_out_pairs(source, str(tmp_path / "out"), 2, number=3, overwrite=True)
    assert [name for name in os.listdir(tmp_path / "out") if name != "heldout.bin"] == []
