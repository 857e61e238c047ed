import contextlib
import gzip
import os
import tarfile

import pytest

from partial_fc.cli.data import main as commands
from partial_fc.data.tools import glint360k_archive
from partial_fc.data.tools.glint360k import RELEASES, Release, prepare
from partial_fc.errors import InputError

from helpers.glint360k import FILES, INDEX, REC, archive, md5, split


@contextlib.contextmanager
def no_progress(total, what):
    yield lambda count: None


def run(folder, release):
    return prepare(str(folder), no_progress, (RELEASES[0], release))


def files(folder):
    return {
        os.path.relpath(os.path.join(parent, name), folder): open(os.path.join(parent, name), "rb").read()
        for parent, _, names in os.walk(folder)
        for name in names
        if not name.startswith("glint360k")
    }


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", ["glint360k", "glint360k_"])
def test_parts_are_joined_and_unpacked(tmp_path, compress, name):
    release = split(tmp_path, compress(archive()), name)
    found = run(tmp_path, release)
    assert found == (str(tmp_path / "glint360k"), release)
    assert files(tmp_path) == {f"glint360k/{name}": content for name, content in FILES.items()}
    assert run(tmp_path, release) == found


@pytest.mark.parametrize("name", ["glint360k.tar", "glint360k.tar.gz"])
def test_one_archive_without_a_folder(tmp_path, name):
    (tmp_path / name).write_bytes(archive(folder=""))
    assert run(tmp_path, Release("r", md5(REC), md5(INDEX), ())).folder == str(tmp_path)
    assert files(tmp_path) == FILES


def test_run_that_was_broken_off_goes_on(tmp_path):
    release = split(tmp_path, archive())
    run(tmp_path, release)
    os.remove(tmp_path / "glint360k" / "train.idx")
    kept = os.stat(tmp_path / "glint360k" / "train.rec")
    (tmp_path / "glint360k" / "property").write_bytes(b"half")
    run(tmp_path, release)
    assert files(tmp_path) == {f"glint360k/{name}": content for name, content in FILES.items()}
    assert os.stat(tmp_path / "glint360k" / "train.rec").st_ino == kept.st_ino


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, 10 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../evil"),
        member("glint360k/../../evil"),
        member("/tmp/evil-of-partial-fc"),
        member("link", tarfile.SYMTYPE, "/etc"),
        member("hard", tarfile.LNKTYPE, "glint360k/train.rec"),
        member("device", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
        member("out/evil"),
    ],
    ids=lambda info: info.name.replace("/", "|"),
)
def test_no_member_leaves_the_folder(tmp_path, bad):
    folder, outside = tmp_path / "in", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "out").symlink_to(outside)
    release = split(folder, archive([bad]))
    with pytest.raises(InputError, match="is not a plain file|may lead out of the folder|a link leads out"):
        run(folder, release)
    assert os.listdir(outside) == [] and sorted(os.listdir(tmp_path)) == ["in", "outside"]
    assert not os.path.lexists("/tmp/evil-of-partial-fc")


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_damaged_part_is_named(tmp_path, compress):
    release = split(tmp_path, compress(archive()))
    path = tmp_path / "glint360k_04"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="glint360k_04"):
        run(tmp_path, release)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_downloading_the_damaged_part_again_helps(tmp_path, compress):
    release = split(tmp_path, compress(archive()))
    path = tmp_path / "glint360k_04"
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    for _ in range(2):
        with pytest.raises(InputError, match="glint360k_04: md5 not that of the release under test: download again"):
            run(tmp_path, release)
        assert files(tmp_path) == {}  # nothing has got its name, nothing is left
    path.write_bytes(whole)
    run(tmp_path, release)
    assert files(tmp_path) == {f"glint360k/{name}": content for name, content in FILES.items()}


@pytest.mark.parametrize(
    "names",
    [
        ["glint360k_aa", "glint360k_ab", "glint360k_ac"],
        ["glint360k.tar.gz.00", "glint360k.tar.gz.01"],
        ["glint360k.tgz"],
        ["glint360k.part1", "glint360k.part2"],
        ["glint360k.gz"],
        ["glint360k"],
    ],
)
def test_parts_of_other_names(tmp_path, names):
    content = gzip.compress(archive(folder=""))
    size = -(-len(content) // len(names))
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(content[number * size : (number + 1) * size])
    assert run(tmp_path, Release("r", md5(REC), md5(INDEX), ())).folder == str(tmp_path)
    if len(names) == 3:
        os.remove(tmp_path / "train.idx")
        for missing in ("ab", "aa"):
            os.rename(tmp_path / f"glint360k_{missing}", tmp_path / "away")
            with pytest.raises(InputError, match=f"part glint360k_{missing} of the archive is missing"):
                run(tmp_path, RELEASES[0])
            os.rename(tmp_path / "away", tmp_path / f"glint360k_{missing}")


def test_members_that_a_data_set_does_not_have_are_left_out(tmp_path, caplog):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "glint360k").mkdir()
    (tmp_path / "glint360k" / "default.py").write_text("mine")
    members = ["notes.txt", "glint360k/default.py", "glint360k/sub/train.rec", "lfw.bin"]
    run(tmp_path, split(tmp_path, archive(map(member, members))))
    assert {name: content for name, content in files(tmp_path).items() if "." in os.path.basename(name)} == {
        "notes.txt": b"mine",
        "glint360k/default.py": b"mine",
        "glint360k/train.rec": REC,
        "glint360k/train.idx": INDEX,
        "lfw.bin": bytes(10),
    }
    assert sum("skipping" in record.getMessage() for record in caplog.records) == 3


def test_archive_that_breaks_off(tmp_path):
    release = split(tmp_path, archive())
    path = tmp_path / "glint360k_06"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="glint360k_06"):
        run(tmp_path, release)
    assert not os.path.exists(tmp_path / "glint360k" / "train.idx")


@pytest.mark.parametrize("missing", ["glint360k_03", "glint360k_06", "glint360k_00"])
def test_missing_part_is_named(tmp_path, missing):
    release = split(tmp_path, archive())
    os.remove(tmp_path / missing)
    with pytest.raises(InputError, match=f"part {missing} of the archive is missing.*magnet:"):
        run(tmp_path, release)


def test_parts_of_two_archives(tmp_path):
    release = split(tmp_path, archive())
    (tmp_path / "glint360k00").write_bytes(b"other")
    with pytest.raises(InputError, match="different archives"):
        run(tmp_path, release)


def test_sums_of_the_records(tmp_path):
    for name in FILES:
        (tmp_path / name).write_bytes(FILES[name])
    release = Release("right", md5(REC), md5(INDEX), ())
    assert run(tmp_path, release) == (str(tmp_path), release)
    with pytest.raises(InputError, match=rf"train\.idx: md5 {md5(INDEX)} is not that of a release"):
        run(tmp_path, release._replace(idx="0" * 32))
    with pytest.raises(InputError, match=rf"train\.rec: md5 {md5(REC)}, but .*{'0' * 32}"):
        run(tmp_path, release._replace(rec="0" * 32))


def test_too_little_space(tmp_path, monkeypatch):
    release = split(tmp_path, archive())
    monkeypatch.setattr(glint360k_archive.shutil, "disk_usage", lambda _: type("Usage", (), dict(free=1000)))
    with pytest.raises(InputError, match="free space"):
        run(tmp_path, release)


def test_files_of_a_run_that_was_killed_are_removed_before_space_is_needed(tmp_path, monkeypatch):
    release = split(tmp_path, archive())
    (tmp_path / "glint360k").mkdir()
    left = [tmp_path / ".train.rec.unpacking", tmp_path / "glint360k" / ".lfw.bin.unpacking"]
    for path in left:
        path.write_bytes(REC)

    def usage(_):
        return type("Usage", (), dict(free=0 if any(path.exists() for path in left) else 10**9))

    monkeypatch.setattr(glint360k_archive.shutil, "disk_usage", usage)
    run(tmp_path, release)
    assert files(tmp_path) == {f"glint360k/{name}": content for name, content in FILES.items()}


def test_command(tmp_path, monkeypatch, caplog, capsys):
    release = split(tmp_path, archive())
    monkeypatch.setattr(prepare, "__defaults__", ((release,),))
    assert commands.main(["glint360k", str(tmp_path)]) == 0
    reported = [record.getMessage() for record in caplog.records]
    assert reported[0].endswith("release under test: 17091657 images of 360232 identities")
    assert reported[1].endswith("--rec " + os.path.join(str(tmp_path), "glint360k", "train.rec"))
    for wrong in ("nowhere", str(tmp_path / "glint360k_00")):
        assert commands.main(["glint360k", wrong]) == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert commands.main(["glint360k", str(empty)]) == 2
    assert "neither train.rec with train.idx nor parts" in capsys.readouterr().err


def test_a_file_of_a_huge_number_is_no_part(tmp_path):
    (tmp_path / ("glint360k_" + "9" * 12)).write_bytes(b"")
    with pytest.raises(InputError, match="nor parts"):
        run(tmp_path, RELEASES[0])
