"""Packing with threads, and in several runs: every way leads to the same bytes."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.tools.pack import pack
from partial_fc.data.verification_set import load_verification_set
from partial_fc.errors import InputError

from helpers.faces import face
from helpers.paths import SRC

PEOPLE, IMAGES = 60, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Identities of 5 images, some of which are damaged: of p7 all, of p20 four."""
    folder = tmp_path_factory.mktemp("many") / "faces"
    for person in range(PEOPLE):
        (folder / f"p{person}").mkdir(parents=True)
        for image in range(IMAGES):
            damaged = person == 7 or person == 20 and image
            content = b"damaged" if damaged else encode_jpeg(face(person, image, 24 + 8 * (image % 2)))
            (folder / f"p{person}" / f"{image}.jpg").write_bytes(content)
    return str(folder)


@pytest.fixture(scope="module")
def expected(folder, tmp_path_factory):
    """Files of an undisturbed run."""
    out = tmp_path_factory.mktemp("undisturbed")
    pack(folder, str(out), size=32, min_images=2)
    found = files(out)
    assert sorted(found) == ["identities.txt", "property", "skipped.txt", "train.idx", "train.rec"]
    assert found["property"] == b"58,32,32\n"
    return found


def files(out):
    return {name: (out / name).read_bytes() for name in os.listdir(out)}


def broken_off_after(number):
    """A progress that ends the run after so many identities."""

    def progress(people):
        yield from people[:number]
        raise KeyboardInterrupt

    return progress


def break_off(folder, out, number, **options):
    with pytest.raises(KeyboardInterrupt):
        pack(folder, str(out), size=32, min_images=2, progress=broken_off_after(number), **options)


def finish(folder, out, **options):
    """Pack the rest; returns the names of the identities that were left to do."""
    left = []
    pack(folder, str(out), size=32, min_images=2, progress=lambda people: left.extend(people) or people, **options)
    return left


@pytest.mark.parametrize("num_workers", [2, 7])
def test_threads_change_nothing(folder, expected, tmp_path, num_workers):
    pack(folder, str(tmp_path / "out"), size=32, min_images=2, num_workers=num_workers)
    assert files(tmp_path / "out") == expected


def test_goes_on_where_it_stopped(folder, expected, tmp_path, caplog):
    out = tmp_path / "out"
    break_off(folder, out, 9)
    assert os.listdir(out) == [".pack"]
    break_off(folder, out, 20, num_workers=3)
    with caplog.at_level("INFO", "partial_fc"):
        assert finish(folder, out) == [f"p{person}" for person in range(29, PEOPLE)]
    assert f"continuing {out}/.pack: 29 of 60 identities are done" in caplog.text
    assert files(out) == expected


def test_same_result_from_the_journal(folder, tmp_path):
    out = tmp_path / "out"
    break_off(folder, out, PEOPLE)
    assert pack(folder, str(out), size=32, min_images=2) == pack(folder, str(tmp_path / "b"), size=32, min_images=2)


@pytest.mark.parametrize(
    "damage, left",
    [
        (lambda lines: lines[:-1] + [lines[-1][:-1]], 30),
        (lambda lines: lines + [b'["p31", 5, '], 29),
        (lambda lines: lines[:12] + [b"\0" * 40 + b"\n"] + lines[13:], 49),
        (lambda lines: [lines[0][:9]], 60),
        (lambda lines: [], 60),
    ],
    ids=["no end", "torn", "zeros", "first torn", "empty"],
)
def test_torn_journal(folder, expected, tmp_path, damage, left):
    out = tmp_path / "out"
    break_off(folder, out, 31)
    journal = out / ".pack" / "journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 32
    journal.write_bytes(b"".join(damage(lines)))
    assert len(finish(folder, out)) == left
    assert files(out) == expected


@pytest.mark.parametrize("name", ["train.rec", "train.idx"])
def test_data_shorter_than_the_journal_says(folder, expected, tmp_path, name):
    out = tmp_path / "out"
    break_off(folder, out, 31)
    with open(str(out / ".pack" / name), "rb+") as file:
        file.truncate(os.path.getsize(file.name) - 1)
    assert len(finish(folder, out)) == 30
    assert files(out) == expected


def test_data_longer_than_the_journal_says(folder, expected, tmp_path):
    out = tmp_path / "out"
    break_off(folder, out, 31)
    for name in ("train.rec", "train.idx"):
        with open(str(out / ".pack" / name), "ab") as file:
            file.write(b"half of the next identity")
    assert len(finish(folder, out)) == 29
    assert files(out) == expected


def test_other_folders_than_before(tmp_path):
    for name in ("a", "c", "d"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        (tmp_path / "faces" / name / "1.jpg").write_bytes(encode_jpeg(face(ord(name), 0)))
    out, options = tmp_path / "out", {"size": 32}
    with pytest.raises(KeyboardInterrupt):
        pack(str(tmp_path / "faces"), str(out), size=32, progress=broken_off_after(2))
    (tmp_path / "faces" / "b").mkdir()
    (tmp_path / "faces" / "b" / "1.jpg").write_bytes(encode_jpeg(face(9, 9)))
    assert pack(str(tmp_path / "faces"), str(out), **options).identities == ["a", "b", "c", "d"]
    pack(str(tmp_path / "faces"), str(tmp_path / "whole"), **options)
    assert files(out) == files(tmp_path / "whole")


def test_other_arguments(folder, expected, tmp_path):
    out = tmp_path / "out"
    break_off(folder, out, 31)
    before = files(out / ".pack")
    (tmp_path / "points.txt").write_text("p1/0.jpg 1 2 3 4 5 6 7 8 9 10\n")
    for changed in ({"size": 48}, {"min_images": 3}, {"landmarks": str(tmp_path / "points.txt")}):
        with pytest.raises(
            InputError, match=r"out.\.pack holds an unfinished run with other arguments.*--overwrite to start anew"
        ):
            pack(folder, str(out), **{"size": 32, "min_images": 2, **changed})
    with pytest.raises(InputError, match="other arguments"):
        pack(os.path.dirname(folder), str(out), size=32, min_images=2)
    assert files(out / ".pack") == before
    assert len(finish(folder, out, overwrite=True)) == PEOPLE
    assert files(out) == expected


def test_broken_off_replacement_goes_on_without_overwrite(folder, expected, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "train.rec").write_bytes(b"old")
    break_off(folder, out, 31, overwrite=True)
    assert (out / "train.rec").read_bytes() == b"old"
    assert len(finish(folder, out)) == 29
    assert files(out) == expected
    with pytest.raises(InputError, match="exists: --overwrite"):
        finish(folder, out)


@pytest.mark.parametrize("renamed", range(6))
def test_killed_while_files_get_their_names(folder, expected, tmp_path, monkeypatch, renamed):
    out, replace, names = tmp_path / "out", os.replace, []

    def killed(source, target):
        if os.path.dirname(target) == str(out):
            names.append(target)
            if len(names) > renamed:
                raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        pack(folder, str(out), size=32, min_images=2, random_pairs=3)
    assert finish(folder, out, random_pairs=3) == []
    assert len(load_verification_set(str(out / "faces.bin")).images) == 12
    os.remove(str(out / "faces.bin"))
    assert files(out) == expected


def test_two_at_a_time(folder, tmp_path):
    def progress(people):
        with pytest.raises(InputError, match="out: another run is at work there: process"):
            pack(folder, str(tmp_path / "out"), size=32)
        return people

    pack(folder, str(tmp_path / "out"), size=32, progress=progress)


def test_full_disk(folder, expected, tmp_path):
    out, limits = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60000, limits[1]))
    try:
        with pytest.raises(OSError) as error:
            pack(folder, str(out), size=32, min_images=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.errno == errno.EFBIG and error.value.filename == str(out / ".pack" / "train.rec")
    assert os.listdir(out) == [".pack"]
    assert 0 < len(finish(folder, out)) < PEOPLE
    assert files(out) == expected


def test_killed(folder, expected, tmp_path):
    out, journal = tmp_path / "out", tmp_path / "out" / ".pack" / "journal"
    arguments = ["pack", folder, str(out), "--size", "32", "--min-images", "2"]
    slowly = """if True:
        import sys, time
        from partial_fc.cli.data import main
        from partial_fc.data.images import folder
        fit = folder.fit_image
        folder.fit_image = lambda *arguments: time.sleep(0.01) or fit(*arguments)
        main.main(sys.argv[1:])
    """
    environment = {**os.environ, "PYTHONPATH": SRC}
    run = subprocess.Popen([sys.executable, "-c", slowly, *arguments, "--workers", "2"], env=environment)
    deadline = time.monotonic() + 30
    while not journal.exists() or journal.read_bytes().count(b"\n") < 10:
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert sorted(os.listdir(out)) == [".lock", ".pack"]
    lines = journal.read_bytes().splitlines()
    assert json.loads(lines[0])["size"] == 32 and len(lines) < PEOPLE
    command = [sys.executable, "-m", "partial_fc", "data", *arguments]
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    assert "identities are done" in again.stderr
    assert files(out) == expected
