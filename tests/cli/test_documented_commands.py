"""The commands `report`, `export`, `import` and `doctor` in README and docs run as they are printed."""

import json
import os
import shutil

import pytest

from partial_fc.cli.main import main

from helpers.documents import lines_of
from helpers.faces import write_faces
from helpers.models import write_linear_model, write_network
from helpers.protocols import write_images
from helpers.ranks import run
from helpers.report import conflicts_of, evaluation, write_mistakes, write_run

RUNS = ("demo-demo-cosface", "faces-r50-cosface", "a", "b", "c")


@pytest.mark.parametrize("line", lines_of("report"))
def test_reports(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in RUNS:
        write_run(tmp_path / "models" / name)
    write_mistakes(tmp_path / "mistakes")
    for name, facts in (("lfw", evaluation("models/a/model")), ("conflicts", conflicts_of())):
        (tmp_path / f"{name}.json").write_text(json.dumps(facts))
    words = line.split()[1:]
    assert main(words) == 0
    page = (tmp_path / words[-1]).read_text(encoding="utf-8")
    assert all(os.path.basename(each) in page for each in words[1:-1] if each.startswith("models/"))
    assert ("Worst false accepts" in page) == ("mistakes" in words)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models of the names in the docs; the one of faces has the layers of r50, of which there are fewer."""
    folder = tmp_path_factory.mktemp("models")
    for name, size in (("faces", 112), ("lfw", 56), ("mobilenet", 112)):
        (folder / "models" / name).mkdir(parents=True)
        write_linear_model(folder / "models" / name / "model", size)
    (folder / "models" / "faces-r50-cosface").mkdir()
    write_network(folder / "models" / "faces-r50-cosface" / "model", "r18", embedding_size=24)
    write_images(folder / "two", ["first.png", "second.png"], 112)
    return folder


@pytest.mark.parametrize("line", lines_of("export"))
def test_exports_and_imports(line, models, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    monkeypatch.chdir(shutil.copytree(models, tmp_path / "here"))
    _, command, source, out, *_ = line.split()
    if command == "import":
        before = next(each for each in lines_of("export") if each.split()[3] == source)  # it writes the file
        assert main(before.split()[1:]) == 0
    assert main(line.split()[1:]) == 0
    assert os.path.getsize(f"{out}-symbol.json" if command == "import" else out) > 1000
    assert command == "import" or "compared" in capsys.readouterr().err


@pytest.mark.parametrize("line", lines_of("doctor"))
def test_doctor(line, tmp_path):
    """The hosts are this one, whatever its state."""
    (tmp_path / "DIR").mkdir()
    write_faces(tmp_path / "DIR", 5, 4)
    process = run(["bash", "-c", line.replace("ip1:8,ip2:8", "localhost:2")], cwd=tmp_path)
    assert process.returncode in (0, 1) and "Traceback" not in process.stdout, process.stdout
    assert "MXNet" in process.stdout and ("train.rec" in process.stdout) == ("--rec" in line)
