import os
import resource
import subprocess
import sys
import zipfile

import mxnet as mx
import numpy as np
import pytest

from partial_fc.cli.data import main as commands
from partial_fc.data.images.decoding import decode_image
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.records.record_writer import write_records
from partial_fc.data.tools.copying import Reading
from partial_fc.data.tools.pack import pack
from partial_fc.data.tools.unpack import unpack
from partial_fc.data.verification_set import load_verification_set
from partial_fc.errors import InputError

from helpers.faces import write_faces
from helpers.paths import ROOT

SCRIPT = os.path.join(ROOT, "unpack_glint360k.py")
LFW = os.path.join(os.environ.get("PARTIAL_FC_TEST_DATA", ""), "lfw-112x112")
OMNIGLOT = os.path.join(os.environ.get("PARTIAL_FC_TEST_DATA", ""), "omniglot")
FIRST = {"id_0/0_0.jpg": b"a", "id_0/0_1.jpg": b"bb", "id_1/1_2.jpg": b"\xff\xd8 not decoded"}
SECOND = {"id_2/2_3.jpg": b"d", "id_3/3_4.jpg": b"e" * 5000}


@pytest.fixture
def folders(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    write_records(str(tmp_path / "first" / "train.rec"), [[b"a", b"bb"], [b"\xff\xd8 not decoded"]])
    write_records(str(tmp_path / "second" / "train.rec"), [[b"d"], [b"e" * 5000]])
    return [str(tmp_path / "first"), str(tmp_path / "second")]


def files(folder):
    return {
        os.path.relpath(os.path.join(parent, name), str(folder)): open(os.path.join(parent, name), "rb").read()
        for parent, _, names in os.walk(str(folder))
        for name in names
    }


def test_images_as_they_are(folders, tmp_path):
    assert unpack(folders[:1], str(tmp_path / "out")) == (3, 2)
    assert files(tmp_path / "out") == FIRST


def test_labels_of_the_second_follow(folders, tmp_path):
    assert unpack(folders, str(tmp_path / "out")) == (5, 4)
    assert files(tmp_path / "out") == {**FIRST, **SECOND}


def test_threads(tmp_path, monkeypatch):
    """Numbers and labels do not depend on them; folders are made once for each identity."""
    for name, people in (("first", 3), ("second", 2)):
        (tmp_path / name).mkdir()
        images = [[b"%s %d %d" % (name.encode(), person, image) for image in range(40)] for person in range(people)]
        write_records(str(tmp_path / name / "train.rec"), images)
    folders, made, makedirs = [str(tmp_path / name) for name in ("first", "second")], [], os.makedirs
    unpack(folders, str(tmp_path / "one"), reading=Reading(1))
    monkeypatch.setattr(os, "makedirs", lambda path, **options: made.append(path) or makedirs(path, **options))
    assert unpack(folders, str(tmp_path / "out"), reading=Reading(1)) == (200, 5)
    assert sorted(os.path.basename(path) for path in made if "id_" in path) == [f"id_{label}" for label in range(5)]
    assert unpack(folders, str(tmp_path / "four"), reading=Reading(4)) == (200, 5)
    assert files(tmp_path / "four") == files(tmp_path / "one") and len(files(tmp_path / "one")) == 200
    assert files(tmp_path / "one")["id_3/3_120.jpg"] == b"second 0 0"


def test_damaged_record_ends_the_run(folders, tmp_path):
    path = tmp_path / "second" / "train.rec"
    path.write_bytes(b"\0" * 4 + path.read_bytes()[4:])
    with pytest.raises(InputError, match=r"second.train\.rec: record 1 cannot be read"):
        unpack(folders, str(tmp_path / "out"), reading=Reading(4))


def test_damaged_records_are_skipped(folders, tmp_path, caplog, capsys):
    """Numbers and labels of the others are as they would be without the damage."""
    path = tmp_path / "first" / "train.rec"
    position = int(RecordFile(str(path)).positions[2])
    content = path.read_bytes()
    path.write_bytes(content[:position] + bytes(4) + content[position + 4 :])
    arguments = ["unpack", *folders, str(tmp_path / "out"), "--on-bad-record", "skip"]
    assert commands.main(arguments) == 2
    assert (
        "this makes 1 of 3 records bad, more than the maximum share bad_record_share=0.001:" in capsys.readouterr().err
    )
    assert commands.main([*arguments, "--bad-record-share", "0.34"]) == 0
    assert files(tmp_path / "out") == {**SECOND, **{name: FIRST[name] for name in FIRST if name != "id_0/0_1.jpg"}}
    reported = [record.getMessage() for record in caplog.records]
    assert "record 2 cannot be read" in reported[-3] and reported[-1].endswith("out: 4 images of 4 identities")
    assert commands.main([*arguments, "--bad-record-share", "0"]) == 2
    assert "more than the maximum share" in capsys.readouterr().err


def test_full_disk_names_the_file(folders, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(OSError, match="id_3/3_4.jpg"):
            unpack(folders, str(tmp_path / "out"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [name for name in files(tmp_path / "out") if not name.endswith(".jpg")]


def test_labels_follow_a_plain_file(folders, tmp_path):
    """One which does not tell the number of its identities, and whose labels are arrays, like Glint360K's."""
    path = str(tmp_path / "first" / "train.rec")
    file = mx.recordio.MXIndexedRecordIO(path[:-4] + ".idx", path, "w")
    for key, label in enumerate([4.0, 1.0], start=1):
        file.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, [label, 1.0], key, 0), b"%d" % key))
    file.close()
    assert unpack(folders, str(tmp_path / "out")) == (4, 7)
    assert sorted(files(tmp_path / "out")) == ["id_1/1_1.jpg", "id_4/4_0.jpg", "id_5/5_2.jpg", "id_6/6_3.jpg"]


def test_second_run_finishes_the_first(folders, tmp_path):
    out = tmp_path / "out"

    def broken_off(keys):
        yield from keys[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(folders, str(out), progress=broken_off)
    assert 2 <= len(files(out)) < 5
    (out / "id_0" / "0_1.jpg").write_bytes(b"b")  # what a crash of the machine may leave
    os.utime(str(out / "id_0" / "0_0.jpg"), (1, 1))
    assert unpack(folders, str(out)) == (5, 4)
    assert files(out) == {**FIRST, **SECOND}
    assert (out / "id_0" / "0_0.jpg").stat().st_mtime == 1  # not written again


def test_no_half_image_under_its_name(folders, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError("broken off here")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="broken off here"):
        unpack(folders, str(tmp_path / "out"))
    assert [name for name in files(tmp_path / "out") if not os.path.basename(name).startswith(".")] == []
    monkeypatch.undo()
    unpack(folders, str(tmp_path / "out"))
    assert files(tmp_path / "out") == {**FIRST, **SECOND}


def test_progress_is_over_the_images(folders, tmp_path):
    seen = []
    unpack(folders, str(tmp_path / "out"), progress=lambda numbers: seen.extend(numbers) or iter(numbers))
    assert seen == [0, 1, 2, 3, 4]


def test_errors_come_before_the_work(folders, tmp_path):
    for name, hint in (("train.idx", ": `partial-fc data index "), ("train.rec", "; a source is a folder")):
        os.remove(os.path.join(folders[1], name))
        with pytest.raises(InputError, match=rf"second.{name}: no such file{hint}"):
            unpack(folders, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_negative_label_is_named(folders, tmp_path):
    path = str(tmp_path / "first" / "train.rec")
    file = mx.recordio.MXIndexedRecordIO(path[:-4] + ".idx", path, "w")
    file.write_idx(1, mx.recordio.pack(mx.recordio.IRHeader(0, -1.0, 1, 0), b"image"))
    file.close()
    with pytest.raises(InputError, match=r"train\.rec: record 1 has label -1"):
        unpack(folders[:1], str(tmp_path / "out"))


def contents(path):
    records = RecordFile(str(path))
    return [records.read(key) for key in records.keys], records.num_identities


def test_pack_unpack_pack(tmp_path):
    path = write_faces(tmp_path, num_identities=12, images=11, size=32)
    unpack([str(tmp_path)], str(tmp_path / "images"))
    packed = pack(str(tmp_path / "images"), str(tmp_path / "again"), size=32)
    assert packed.identities == [f"id_{label}" for label in range(12)] and not packed.skipped
    assert contents(tmp_path / "again" / "train.rec") == contents(path)
    for name in ("train.rec", "train.idx"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_command(folders, tmp_path, capsys):
    assert commands.main(["unpack", *folders, str(tmp_path / "out"), "--workers", "2"]) == 0
    assert files(tmp_path / "out") == {**FIRST, **SECOND}
    assert commands.main(["unpack", os.path.join(folders[0], "train.rec"), str(tmp_path / "one")]) == 0
    assert files(tmp_path / "one") == FIRST
    assert commands.main(["unpack", "nowhere", str(tmp_path / "out")]) == 2
    assert "error: nowhere/train.rec: no such file" in capsys.readouterr().err


def test_script_of_the_checkout(folders, tmp_path):
    """Without the library on the path, in another folder."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, os.path.abspath(SCRIPT), "--include", "first,second", "--output", "out"]
    run = subprocess.run(command, cwd=str(tmp_path), env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert files(tmp_path / "out") == {**FIRST, **SECOND}
    assert "out: 5 images of 4 identities" in run.stderr
    run = subprocess.run(command[:2], cwd=str(tmp_path), env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2 and "required: --include, --output" in run.stderr


@pytest.mark.skipif(not os.path.isdir(LFW), reason="PARTIAL_FC_TEST_DATA names no folder with lfw-112x112")
def test_real_faces_there_and_back(tmp_path):
    people = ("Abdullah_Gul", "Abel_Pacheco", "Akhmed_Zakayev", "George_W_Bush")
    with zipfile.ZipFile(os.path.join(LFW, "lfw-112x112.zip")) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg") and name.split("/")[-2] in people]
        for name in names:
            target = tmp_path / "lfw" / "/".join(name.split("/")[-2:])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
    (tmp_path / "pairs.txt").write_text("1\t1\nAbel_Pacheco\t1\t4\nAbdullah_Gul\t13\tAkhmed_Zakayev\t3\n")
    out = tmp_path / "out"
    packed = pack(str(tmp_path / "lfw"), str(out), pairs=str(tmp_path / "pairs.txt"))
    assert packed == (len(names), list(people), [], 0)
    images, issame = load_verification_set(str(out / "pairs.bin"))
    originals = ["Abel_Pacheco_0001", "Abel_Pacheco_0004", "Abdullah_Gul_0013", "Akhmed_Zakayev_0003"]
    assert images == [(tmp_path / "lfw" / name[:-5] / f"{name}.jpg").read_bytes() for name in originals]
    assert issame.tolist() == [True, False]
    unpack([str(out)], str(tmp_path / "images"), reading=Reading(2))
    assert sorted(files(tmp_path / "images").values()) == sorted(files(tmp_path / "lfw").values())
    pack(str(tmp_path / "images"), str(tmp_path / "again"), num_workers=2)
    assert contents(tmp_path / "again" / "train.rec") == contents(out / "train.rec")


@pytest.mark.skipif(not os.path.isdir(OMNIGLOT), reason="PARTIAL_FC_TEST_DATA names no folder with omniglot")
def test_real_characters_there_and_back(tmp_path):
    """Drawings in black and white, PNGs of another size: changed by the first pack, and by none after it."""
    with zipfile.ZipFile(os.path.join(OMNIGLOT, "images_evaluation.zip")) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")][:1000]
        for name in names:
            alphabet, character, image = name.split("/")[-3:]
            target = tmp_path / "omniglot" / f"{alphabet}.{character}" / image
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
    out = tmp_path / "out"
    packed = pack(str(tmp_path / "omniglot"), str(out), size=64, num_workers=2)
    assert (packed.num_images, len(packed.identities), packed.skipped) == (1000, 50, [])
    image, label = RecordFile(str(out / "train.rec")).read(1)
    drawn = decode_image(image, (64, 64))
    assert label == 0 and drawn.min() < 80 and drawn.mean() > 200 and np.ptp(drawn.astype(int), axis=2).max() < 8
    unpack([str(out)], str(tmp_path / "images"), reading=Reading(2))
    pack(str(tmp_path / "images"), str(tmp_path / "again"), size=64, num_workers=2)
    for name in ("train.rec", "train.idx"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
