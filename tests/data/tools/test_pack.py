import io
import os
import subprocess
import sys

import cv2
import pytest

from partial_fc.cli import run as command_line
from partial_fc.cli.data import main as commands
from partial_fc.data import progress
from partial_fc.data.images import folder as image_folder
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.images.folder import natural_key
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.tools.pack import pack
from partial_fc.data.verification_set import load_verification_set
from partial_fc.errors import InputError

from helpers.faces import face
from helpers.paths import SRC


def encode(ending, pixels):
    done, encoded = cv2.imencode(ending, pixels)
    assert done
    return encoded.tobytes()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path):
    """Identities 1, 2, 10, named so that 10 comes before 2 in the order of letters, with 12, 1 and 3 images."""
    folder = tmp_path / "faces"
    for person, images in ((1, 12), (2, 1), (10, 3)):
        for image in range(1, images + 1):
            write(folder / f"p{person}" / f"p{person}_{image}.jpg", encode_jpeg(face(person, image)))
    return folder


def read_all(path):
    records = RecordFile(str(path))
    return [records.read(key) for key in records.keys]


def test_images_and_labels_in_natural_order(folder, tmp_path):
    packed = pack(str(folder), str(tmp_path / "out"), size=32)
    assert packed == (16, ["p1", "p2", "p10"], [], 0)
    assert sorted(os.listdir(tmp_path / "out")) == ["identities.txt", "property", "train.idx", "train.rec"]
    expected = [(1, image, 0) for image in range(1, 13)] + [(2, 1, 1)] + [(10, image, 2) for image in (1, 2, 3)]
    assert read_all(tmp_path / "out" / "train.rec") == [
        ((folder / f"p{person}" / f"p{person}_{image}.jpg").read_bytes(), label) for person, image, label in expected
    ]
    assert RecordFile(str(tmp_path / "out" / "train.rec")).num_identities == 3
    assert (tmp_path / "out" / "property").read_text().splitlines() == ["3,32,32"]
    assert (tmp_path / "out" / "identities.txt").read_text().splitlines() == ["p1", "p2", "p10"]


def test_natural_order():
    names = ["a", "2", "10", "01", "1", "a10b2", "a2b10", "a2b9"]
    assert sorted(names[::-1], key=natural_key) == ["01", "1", "2", "10", "a", "a2b9", "a2b10", "a10b2"]
    assert sorted(["\u00b2", "\u0663", "a\u0663", "3"], key=natural_key) == ["3", "a\u0663", "\u00b2", "\u0663"]


def test_line_break_in_a_name(folder, tmp_path):
    """identities.txt has a line for each label."""
    for name in ("p\n3", "p4\r"):
        write(folder / name / "1.jpg", encode_jpeg(face(3, 1)))
        with pytest.raises(InputError, match="has a line break in its name: rename it"):
            pack(str(folder), str(tmp_path / "out"), size=32)
        (folder / name / "1.jpg").unlink()
        (folder / name).rmdir()
    write(folder / "p1" / "bad\nimage.jpg", b"no image")
    pack(str(folder), str(tmp_path / "out"), size=32)
    lines = (tmp_path / "out" / "skipped.txt").read_text().splitlines()
    assert lines == ["p1/bad\\nimage.jpg\t8 bytes that are not an image"]


def test_what_cannot_be_read_is_listed(folder, tmp_path):
    good = (folder / "p1" / "p1_1.jpg").read_bytes()
    write(folder / "p1" / "p1_2.jpg", good[: len(good) // 2])
    write(folder / "p2" / "p2_1.jpg", b"")
    write(folder / "p2" / "Thumbs.db", b"no image")
    write(folder / "p3" / "more" / "image.jpg", good)
    write(folder / ".hidden" / "image.jpg", good)
    (folder / "p4").mkdir()
    (folder / "p10" / "gone.jpg").symlink_to("nowhere")
    write(folder / "readme.txt", b"no image either")
    packed = pack(str(folder), str(tmp_path / "out"), size=32)
    assert packed.num_images == 14 and packed.identities == ["p1", "p10"]
    skipped = [line.split("\t") for line in (tmp_path / "out" / "skipped.txt").read_text().splitlines()]
    assert skipped == [list(pair) for pair in packed.skipped]
    assert sorted(path for path, _ in skipped) == [
        "p1/p1_2.jpg",
        "p10/gone.jpg",
        "p2",
        "p2/Thumbs.db",
        "p2/p2_1.jpg",
        "p3",
        "p3/more/image.jpg",
        "p4",
        "readme.txt",
    ]
    assert all(reason for _, reason in skipped) and dict(map(tuple, skipped))["p10/gone.jpg"].startswith("No such file")
    assert [label for _, label in read_all(tmp_path / "out" / "train.rec")] == [0] * 11 + [1] * 3
    assert (tmp_path / "out" / "property").read_text() == "2,32,32\n"
    assert (tmp_path / "out" / "identities.txt").read_text() == "p1\np10\n"


def test_list_of_an_earlier_run_goes(folder, tmp_path):
    write(folder / "p1" / "damaged.jpg", b"\xff\xd8\xff")
    pack(str(folder), str(tmp_path / "out"), size=32)
    assert (tmp_path / "out" / "skipped.txt").exists()
    (folder / "p1" / "damaged.jpg").unlink()
    pack(str(folder), str(tmp_path / "out"), size=32, overwrite=True)
    assert not (tmp_path / "out" / "skipped.txt").exists()


def test_nothing_readable(tmp_path):
    write(tmp_path / "faces" / "a" / "1.jpg", b"nothing")
    with pytest.raises(InputError, match=r"faces: no readable image.* a.1\.jpg: 7 bytes that"):
        pack(str(tmp_path / "faces"), str(tmp_path / "out"), size=32)
    assert os.listdir(tmp_path / "out") == ["skipped.txt"]


def test_few_identities_are_in_memory(tmp_path, monkeypatch):
    for person in range(40):
        write(tmp_path / "faces" / f"p{person}" / "1.jpg", encode_jpeg(face(person, 0)))
    read, ahead = [], []

    def progress(people):
        for number, person in enumerate(people):
            ahead.append(len(read) - number)
            yield person

    fit = image_folder.fit_image
    monkeypatch.setattr(image_folder, "fit_image", lambda *arguments: read.append(1) or fit(*arguments))
    pack(str(tmp_path / "faces"), str(tmp_path / "out"), size=32, num_workers=2, progress=progress)
    assert len(read) == 40 and max(ahead) <= 9


def test_small_identities_are_left_out(folder, tmp_path):
    write(folder / "p10" / "p10_3.jpg", b"damaged")
    packed = pack(str(folder), str(tmp_path / "out"), size=32, min_images=3)
    assert packed.num_images == 12 and packed.identities == ["p1"]
    assert [label for _, label in read_all(tmp_path / "out" / "train.rec")] == [0] * 12
    assert packed.skipped[0] == ("p2", "1 image, fewer than --min-images 3")
    assert packed.skipped[1][0] == "p10/p10_3.jpg"
    assert packed.skipped[2:] == [("p10", "2 images, fewer than --min-images 3")]
    with pytest.raises(InputError, match="no identity with 13 readable images, see skipped.txt"):
        pack(str(folder), str(tmp_path / "none"), size=32, min_images=13)
    assert os.listdir(tmp_path / "none") == ["skipped.txt"]


def test_labels_are_dense(folder, tmp_path):
    pack(str(folder), str(tmp_path / "out"), size=32, min_images=2)
    assert [label for _, label in read_all(tmp_path / "out" / "train.rec")] == [0] * 12 + [1] * 3


def test_files_that_exist_are_kept(folder, tmp_path):
    out = tmp_path / "out"
    pack(str(folder), str(out), size=32)
    before = (out / "train.rec").read_bytes()
    with pytest.raises(InputError, match=r"train\.rec exists: --overwrite"):
        pack(str(folder), str(out), size=48)
    assert (out / "train.rec").read_bytes() == before
    pack(str(folder), str(out), size=48, overwrite=True)
    assert (out / "property").read_text() == "3,48,48\n" and (out / "train.rec").read_bytes() != before
    (out / "train.rec").unlink()
    (out / "own.bin").touch()
    with pytest.raises(InputError, match=r"own\.bin exists: --overwrite"):
        pack(str(folder), str(out), size=32, random_pairs=2, name="own")


def test_wrong_folders(folder, tmp_path):
    out = str(tmp_path / "out")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        pack(str(tmp_path / "nowhere"), out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: has no subfolders; expected one subfolder of images per identity"):
        pack(str(tmp_path / "empty"), out)
    with pytest.raises(InputError, match=r"p2: has the image p2_1\.jpg; expected one subfolder"):
        pack(str(folder / "p2"), out)
    with pytest.raises(InputError, match="--size 15: at least 16"):
        pack(str(folder), out, size=15)
    with pytest.raises(InputError, match="--name a/b"):
        pack(str(folder), out, random_pairs=1, name="a/b")
    for inside in (folder, folder / "out"):
        with pytest.raises(InputError, match="is inside"):
            pack(str(folder), str(inside))
    write(tmp_path / "file", b"")
    for not_writable in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(InputError, match="file.*: cannot be made"):
            pack(str(folder), str(not_writable))


def test_folder_that_is_not_writable(folder, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)  # root may write everywhere
    with pytest.raises(InputError, match="out: not writable"):
        pack(str(folder), str(tmp_path / "out"))


def write_lfw(folder):
    for name, images in (("Ann", 2), ("Bo", 2)):
        for image in range(1, images + 1):
            write(folder / name / f"{name}_{image:04d}.png", encode(".png", face(len(name), image)))
    write(folder.parent / "own pairs.txt", b"1\t1\nAnn\t1\t2\nBo\t2\tAnn\t1\n")
    return str(folder.parent / "own pairs.txt")


def test_pairs_of_a_file(tmp_path):
    pairs = write_lfw(tmp_path / "lfw")
    pack(str(tmp_path / "lfw"), str(tmp_path / "out"), size=32, pairs=pairs)
    images, issame = load_verification_set(str(tmp_path / "out" / "own pairs.bin"))
    assert issame.tolist() == [True, False]
    ann1, ann2, bo1, bo2 = (image for image, _ in read_all(tmp_path / "out" / "train.rec"))
    assert images == [ann1, ann2, bo2, ann1]


def test_damaged_image_of_a_pair_names_the_line(tmp_path):
    pairs = write_lfw(tmp_path / "lfw")
    write(tmp_path / "lfw" / "Bo" / "Bo_0002.png", b"\x89PNG")
    with pytest.raises(InputError, match=r"own pairs\.txt, line 3: .*Bo_0002\.png: 4 bytes that"):
        pack(str(tmp_path / "lfw"), str(tmp_path / "out"), size=32, pairs=pairs)
    assert os.listdir(tmp_path / "out") == []


def test_random_pairs_are_of_the_images_packed(folder, tmp_path):
    write(folder / "p1" / "p1_0.jpg", b"damaged")
    pack(str(folder), str(tmp_path / "out"), size=32, random_pairs=20)
    images, issame = load_verification_set(str(tmp_path / "out" / "faces.bin"))
    labels = dict(read_all(tmp_path / "out" / "train.rec"))
    pairs = list(zip(images[::2], images[1::2]))
    assert issame.tolist() == [True, False] * 20 and len(set(map(frozenset, pairs))) == 40
    assert [labels[first] == labels[second] for first, second in pairs] == issame.tolist()
    pack(str(folder), str(tmp_path / "again"), size=32, random_pairs=20, name="val")
    assert load_verification_set(str(tmp_path / "again" / "val.bin")).images == images
    pack(str(folder), str(tmp_path / "other"), size=32, random_pairs=20, seed=1)
    assert load_verification_set(str(tmp_path / "other" / "faces.bin")).images != images


def test_too_many_random_pairs_write_nothing(folder, tmp_path):
    with pytest.raises(InputError, match="--random-pairs 1000: the readable images make 69 pairs.*ask for 51 or fewer"):
        pack(str(folder), str(tmp_path / "out"), size=32, random_pairs=1000)
    assert os.listdir(tmp_path / "out") == []


@pytest.fixture
def log():
    """What the commands log."""
    handlers, level = command_line.log.handlers[:], command_line.log.level
    stream = io.StringIO()
    command_line.log.handlers[:] = [command_line.logging.StreamHandler(stream)]
    yield stream
    command_line.log.handlers[:] = handlers
    command_line.log.setLevel(level)


def test_command(folder, tmp_path, log):
    write(folder / "p1" / "damaged.jpg", b"")
    out = str(tmp_path / "out")
    arguments = ["pack", str(folder), out, "--size", "32", "--random-pairs", "3", "--name", "val", "--seed", "5"]
    assert commands.main(arguments) == 0
    lines = log.getvalue().splitlines()
    assert lines[0].startswith("skipped p1/damaged.jpg: ")
    assert lines[1:] == [f"{out}: 16 images of 3 identities; skipped files: 1, identities: 0, see skipped.txt"]
    pack(str(folder), str(tmp_path / "same"), 32, None, 3, "val", 5)
    assert (tmp_path / "out" / "val.bin").read_bytes() == (tmp_path / "same" / "val.bin").read_bytes()


def test_files_and_identities_that_are_skipped_are_counted_once(folder, tmp_path, log):
    write(folder / "p1" / "damaged.jpg", b"")
    write(folder / "p3" / "damaged.jpg", b"damaged")  # a file, and its identity
    assert commands.main(["pack", str(folder), str(tmp_path / "out"), "--size", "32"]) == 0
    text = "16 images of 3 identities; skipped files: 2, identities: 1, see skipped.txt"
    assert log.getvalue().splitlines()[-1].endswith(text)


def test_nested_folders_are_named_with_their_images(folder, tmp_path, log):
    for number in range(3):
        write(folder / "p1" / "holiday" / "2019" / f"{number}.jpg", encode_jpeg(face(1, 20 + number)))
    write(folder / "p2" / "more" / "1.png", b"not looked at")
    write(folder / "p2" / "more" / "notes.txt", b"no image")
    (folder / "p10" / "empty").mkdir()
    out = str(tmp_path / "out")
    assert commands.main(["pack", str(folder), out, "--size", "32"]) == 0
    text = "skipped %d images in this nested folder; move them to the folder of their identity"
    assert log.getvalue().splitlines() == [
        f"{folder}/p1/holiday/2019: {text % 3}",
        f"{folder}/p2/more: {text % 1}",
        "skipped 4 images in 2 nested folders",
        f"{out}: 16 images of 3 identities; skipped files: 4, identities: 0, see skipped.txt",
    ]
    lines = (tmp_path / "out" / "skipped.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines][:2] == ["p1/holiday/2019/0.jpg", "p1/holiday/2019/1.jpg"]


def test_long_lists_are_cut_short_in_the_log(folder, tmp_path, log):
    for image in range(25):
        write(folder / "p1" / f"damaged_{image}.jpg", b"")
    assert commands.main(["pack", str(folder), str(tmp_path / "out"), "--size", "32"]) == 0
    assert len(log.getvalue().splitlines()) == 22 and "... and 5 more" in log.getvalue()


def test_command_tells_errors(folder, tmp_path, log, capsys):
    assert commands.main(["pack", str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/nowhere: no such folder\n"
    pairs = ["pack", str(folder), str(tmp_path / "out"), "--pairs", "pairs.txt", "--random-pairs", "3"]
    for arguments in (pairs, ["pack", str(folder)], [], pairs[:3] + ["--random-pairs", "0"]):
        with pytest.raises(SystemExit) as exit:
            commands.main(arguments)
        assert exit.value.code == 2


def test_progress_without_a_terminal(monkeypatch, log):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0)
    command_line.log.setLevel("INFO")
    assert list(progress.progress([7, 8], "images")) == [7, 8]
    assert [line.split(",")[0] for line in log.getvalue().splitlines()] == ["0 of 2 images", "1 of 2 images"]
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 10)
    assert list(progress.progress([7, 8], "images")) == [7, 8]
    assert len(log.getvalue().splitlines()) == 2


def test_arguments_and_help_without_mxnet():
    code = """if True:
        import sys
        from partial_fc.cli.data.main import parser
        args = parser().parse_args(["pack", "FOLDER", "OUT"])
        assert (args.data_command, args.folder, args.size) == ("pack", "FOLDER", 112)
        assert not {"mxnet", "cv2"} & set(sys.modules)
        parser().parse_args(["pack", "--help"])
    """
    environment = {**os.environ, "PYTHONPATH": SRC}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("usage: partial-fc data pack") and "do not verify a model with them" in " ".join(
        run.stdout.split()
    )
