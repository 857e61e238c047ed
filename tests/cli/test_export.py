"""`partial-fc export` and `import`, as a user types them."""

import json
import re

import numpy as np
import pytest

from partial_fc.cli.eval.main import main as evaluate
from partial_fc.cli.main import main
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run
from partial_fc.eval.embedding import Embedder
from partial_fc.eval.model import load_model
from partial_fc.eval.onnx_model import OnnxModel
from partial_fc.training.pretrained import read_pretrained

from helpers.models import write_linear_model, write_network
from helpers.protocols import write_images

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(line):
    return main(line.split())


def properties(path):
    return {each.key: each.value for each in onnx.load(path).metadata_props}


def test_a_run_s_model(capsys, here):
    write_network("model", "demo", embedding_size=24, image_size=16)
    (here / "summary.json").write_text(json.dumps(dict(dataset="faces", loss="cosface", network="demo", image_size=16)))
    write_images(here / "faces", [f"{number}.png" for number in range(5)], 20)
    assert command("export model a.onnx --images faces --size 16") == 0
    printed = capsys.readouterr().err
    assert re.search(r"wrote a\.onnx; compared with MXNet on 13 images: largest difference [0-9.e-]+ of", printed)
    assert command("export model,0 b.onnx") == 0  # the size is that of the run
    assert "on 8 images" in capsys.readouterr().err and (here / "b.onnx").read_bytes() == (here / "a.onnx").read_bytes()
    found = properties("a.onnx")
    assert {name: found[name] for name in ("dataset", "loss", "network", "image_size", "embedding_size")} == dict(
        dataset="faces", loss="cosface", network="demo", image_size="16x16", embedding_size="24"
    )
    assert evaluate("embed x.npy --images faces --size 16 --model a.onnx".split()) == 0
    assert evaluate("embed y.npy --images faces --size 16 --model model".split()) == 0
    np.testing.assert_allclose(np.load("x.npy"), np.load("y.npy"), rtol=1e-4, atol=1e-4)


def test_scaling_colors_and_layer_become_part_of_the_file(here):
    write_linear_model("plain", 8, scales_input=False)
    assert command("export plain a.onnx --size 8 --mean 100 --scale 0.01 --bgr") == 0
    images = np.random.RandomState(0).randint(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    expected = Embedder(load_model("plain"), bgr=True, scaling=(100.0, 0.01)).embed(images)
    found = OnnxModel("a.onnx").forward(images.transpose(0, 3, 1, 2).astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    write_network("model", "demo", embedding_size=24, image_size=16)
    assert command("export model b.onnx --size 16 --layer pre_fc1") == 0
    assert properties("b.onnx")["embedding_size"] == "24"


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_arcface_torch_and_back(ending, capsys, here):
    if ending == "pt":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    write_network("model", "r18", embedding_size=24, image_size=16)
    assert command(f"export model x.{ending} --format arcface_torch") == 0
    assert "compared on 8 images" in capsys.readouterr().err
    assert command(f"import x.{ending} back") == 0
    hint = re.search(r"`partial-fc train (--network r18 --pretrained back .*)`", capsys.readouterr().err)[1]
    images = np.random.RandomState(0).randint(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    np.testing.assert_allclose(
        *(Embedder(load_model(name)).embed(images) for name in ("model", "back")), rtol=1e-3, atol=1e-3
    )
    config = from_command_line(hint.split())
    assert len(read_pretrained(Run(config, "models", 5), rank=0)) == len(load_model("model").parameters)


@pytest.mark.parametrize(
    "line, message",
    [
        ("export model there.onnx", "OUT there.onnx: exists already; --overwrite replaces it"),
        ("export model x.safetensors", r"OUT x\.safetensors: the name must end in \.onnx, for --format onnx"),
        ("export model x.onnx --format arcface_torch", r"must end in \.safetensors or \.pt or \.pth, for --format arc"),
        ("export model no/x.onnx", "OUT no/x.onnx: the folder "),
        ("export none x.onnx", "none: no file none-symbol.json"),
        ("export model x.onnx --size 48", "images of 48x48 pixels .* would need"),
        ("export model x.onnx --mean 3", "--mean and --scale belong together"),
        ("export model x.safetensors --format arcface_torch --bgr", "--bgr: only for --format onnx"),
        ("export model x.safetensors --format arcface_torch", "cannot become a network of arcface_torch"),
        ("export model x.onnx --images nowhere", "nowhere: no such folder"),
        ("import there.onnx there", "FILE there.onnx: an ONNX model; only state dicts of arcface_torch"),
        ("import x.safetensors model", "OUT model-symbol.json: exists already; --overwrite replaces it"),
        ("import none.safetensors new", "none.safetensors: no such file"),
    ],
)
def test_errors_in_one_line(line, message, capsys, here):
    write_network("model", "demo", embedding_size=24, image_size=16)
    (here / "there.onnx").write_text("kept")
    before = sorted(each.name for each in here.iterdir())
    assert command(line) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and re.search(message, error)
    assert (here / "there.onnx").read_text() == "kept" and sorted(each.name for each in here.iterdir()) == before


def test_overwriting_is_asked_for(here):
    write_network("model", "demo", embedding_size=24, image_size=16)
    (here / "x.onnx").write_text("old")
    assert command("export model x.onnx --size 16 --overwrite") == 0
    assert properties("x.onnx")["color_order"] == "RGB"
