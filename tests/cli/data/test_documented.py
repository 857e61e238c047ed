"""The commands `data ...` as they stand in README and docs, run as they are printed."""

import os
import re
import shlex
import shutil

import numpy as np
import pytest

from partial_fc.cli.centers import parser as centers
from partial_fc.cli.data import main as commands
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.tools.pack import pack

from helpers.documents import documents, lines_of
from helpers.features import write_features
from helpers.options import commands_of

PEOPLE, IMAGES = 20, 46  # a tenth of the people has 1,000 pairs of each kind
_NAMES = "pack|unpack|merge|split|pairs|shuffle|index|check|info|clean|overlap"


def documented():
    """Arguments of the commands in blocks of code, and of those between backquotes that name a folder."""
    yield from (line[len("partial-fc data ") :] for line in lines_of("data"))
    for _, text in documents():
        yield from re.findall(rf"`(?:partial-fc data )?((?:{_NAMES}) data/[^`]*)`", text)


COMMANDS = list(documented())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Photographs with landmarks, records of them and of others."""
    folder = tmp_path_factory.mktemp("documented")
    landmarks = []
    for person in range(PEOPLE):
        (folder / "photos" / f"p{person}").mkdir(parents=True)
        for image in range(IMAGES):
            pixels = np.full((112, 112, 3), 10 * person, np.uint8)
            pixels[image : image + 40, 30:80] = 255 - image
            (folder / "photos" / f"p{person}" / f"{image}.jpg").write_bytes(encode_jpeg(pixels))
            landmarks.append(f"p{person}/{image}.jpg\t38 52 74 52 56 72 42 92 71 92".replace(" ", "\t"))
    (folder / "landmarks.txt").write_text("\n".join(landmarks))
    pack(str(folder / "photos"), str(folder / "data" / "all"))
    for name in (("data", "old"), ("data", "others"), ("data", "faces"), ("data", "lfw-all"), ("other", "records")):
        shutil.copytree(folder / "data" / "all", folder.joinpath(*name))
    write_lists(folder)
    os.remove(folder / "data" / "old" / "train.idx")
    return folder


def write_lists(folder):
    """Features of two data sets, and the lists that are made of them."""
    first, second = str(folder / "data" / "faces"), str(folder / "other" / "records")
    features = [str(folder / f"{name}.npy") for name in ("features", "other")]
    for path, source in zip(features, (first, second)):
        write_features(path, source, lambda key, label: np.random.RandomState(label).randn(8) + key / 1000)
    (folder / "conflicts").mkdir()
    (folder / "conflicts" / "label-map.txt").write_text("0 3\n0 4\n1 0\n")
    (folder / "conflicts" / "leave-out.txt").write_text("1 4\n")
    assert commands.main(["clean", first, features[0], "--duplicate", "1", "--apply", str(folder / "unusual")]) == 0
    assert commands.main(["overlap", first, second, "--by", *features, "--apply", str(folder / "shared")]) == 0


@pytest.mark.parametrize("line", COMMANDS)
def test_it_runs_as_printed(files, tmp_path, monkeypatch, line):
    shutil.copytree(files, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    arguments = shlex.split(line, comments=True)
    if arguments[0] in ("pack", "pairs", "split"):  # which write what others of the commands read
        shutil.rmtree(arguments[3 if arguments[0] == "split" else 2], ignore_errors=True)
    for path in re.findall(r"--(?:apply|pictures) (\S+)", line):
        shutil.rmtree(path, ignore_errors=True)
    if arguments[0] == "merge" and "data/old" in arguments:
        assert commands.main(["index", "data/old"]) == 0
    assert commands.main(arguments) == 0
    if arguments[0] in ("pack", "merge", "pairs") and "--only-pairs" not in arguments:
        out = [each for each in arguments if each.startswith("data/")][-1]
        assert os.path.getsize(os.path.join(out, "train.rec")) and os.path.getsize(os.path.join(out, "train.idx"))


@pytest.mark.parametrize("parser", [commands.parser, centers])
def test_every_command_is_documented(parser):
    (text,) = [text for page, text in documents() if page == os.path.join("docs", "commands.md")]
    rows = re.findall(r"^\| (`[a-z0-9`, ]+`) \|", text, re.MULTILINE)
    named = {name for row in rows for name in re.findall("`([a-z0-9]+)`", row)}
    assert set(commands_of(parser)) <= named
