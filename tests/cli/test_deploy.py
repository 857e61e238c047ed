"""docs/deploy.md, from photographs to ONNX Runtime, runs as it is printed."""

import os
import re
import sys

import numpy as np
import pytest

from helpers.paths import ROOT
from helpers.protocols import write_images
from helpers.ranks import run, succeed

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def blocks():
    """(language, text) of each block of code that runs, in order."""
    with open(os.path.join(ROOT, "docs", "deploy.md"), encoding="utf-8") as file:
        return re.findall(r"^```(bash|python)\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)


def test_runs_as_it_is_printed(tmp_path):
    people = [
        f"{name}/{number}.png" for name in ("Ada Lovelace", "Emmy Noether", "Mary Somerville") for number in "1234567"
    ]
    write_images(tmp_path / "photos", people, 112)
    write_images(tmp_path / "two", ["first.png", "second.png"], 112)
    printed = []
    for language, text in blocks():
        start = ["bash", "-ec"] if language == "bash" else [sys.executable, "-c"]
        printed.append(succeed(run([*start, text], cwd=str(tmp_path), PATH=path(tmp_path))))
    walk, cosine = printed[:2]
    assert re.search(r"wrote faces\.onnx; compared with MXNet on 10 images: largest difference \d\.\de-0[5-9]", walk)
    assert walk.count("wrote faces.onnx") == 1
    expected = [cosine_of(tmp_path / name) for name in ("mxnet.npy", "onnx.npy")]
    assert float(re.fullmatch(r"cosine (\S+)\n", cosine)[1]) == pytest.approx(expected[0], abs=2e-6)
    assert expected[1] == pytest.approx(expected[0], abs=2e-6)
    assert "wrote mobilenet.onnx" in printed[-1]


def cosine_of(path):
    first, second = np.load(path)
    return first @ second / np.linalg.norm(first) / np.linalg.norm(second)


def path(tmp_path):
    """PATH with `partial-fc` of this checkout in front."""
    program = tmp_path / "bin" / "partial-fc"
    program.parent.mkdir(exist_ok=True)
    source = os.path.join(ROOT, "src")
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{source}" exec "{sys.executable}" -m partial_fc "$@"\n')
    program.chmod(0o755)
    return os.pathsep.join([str(program.parent), os.environ["PATH"]])


def test_python_of_the_walk_has_ten_lines():
    text = next(text for language, text in blocks() if language == "python")
    assert len([line for line in text.splitlines() if line.strip()]) <= 10
