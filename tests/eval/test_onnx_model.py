"""ONNX models of others: what is found out about their input, and what is refused."""

import json
import logging
import re

import numpy as np
import pytest

from partial_fc.cli.eval.main import main
from partial_fc.errors import InputError
from partial_fc.eval.embedding import ModelOptions, OnnxEmbedder, open_embedder
from partial_fc.eval.onnx_model import OnnxModel

from helpers.protocols import write_images

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def write(path, steps=(), batch="N", outputs=1, size=4):
    """A linear model behind elementwise `steps`, (operator, name, value); returns its weight."""
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    weight = np.random.RandomState(0).randn(3 * size * size, 5).astype(np.float32)
    arrays, nodes, last = {"weight": weight}, [], "input.1"
    for number, (operator, name, values) in enumerate(steps):
        names = [f"value{number}_{each}" for each in range(len(values))]
        arrays.update(zip(names, values))
        nodes.append(helper.make_node(operator, [last, *names], [f"step{number}"], name=name))
        last = f"step{number}"
    nodes.append(helper.make_node("Flatten", [last], ["flat"], name="Flatten_0"))
    nodes += [helper.make_node("MatMul", ["flat", "weight"], [f"out{each}"]) for each in range(outputs)]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("input.1", tensor, [batch, 3, size, size])],
        [helper.make_tensor_value_info(f"out{each}", tensor, [batch, 5]) for each in range(outputs)],
        [onnx.numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, str(path))
    return weight


BATCH_NORM = [np.full(3, value, np.float32) for value in (1, 0, 0, 1)]


@pytest.mark.parametrize(
    "steps, scales, begins, ambiguous",
    [
        ([], False, "Flatten", False),
        ([("Sub", "_minusscalar0", [127.5]), ("Mul", "_mulscalar0", [0.0078125])], True, "Sub and Mul", False),
        ([("Sub", "Sub_1", [127.5]), ("Div", "x", [128.0])], True, "Sub and Div", False),
        ([("Sub", "a", [1.0])], False, "Sub", False),
        ([("BatchNormalization", "bn_data", BATCH_NORM)], True, "BatchNormalization and Flatten", False),
        ([("BatchNormalization", "batchnorm0", BATCH_NORM)], False, "BatchNormalization", True),
    ],
)
def test_what_the_first_operators_say_about_the_input(steps, scales, begins, ambiguous, tmp_path):
    write(tmp_path / "m.onnx", steps)
    model = OnnxModel(str(tmp_path / "m.onnx"))
    assert (model.scales_input, model.begins_with, model.ambiguous) == (scales, begins, ambiguous)


@pytest.mark.parametrize("batch", ["N", 1, 2, 4])
def test_fixed_and_free_batch_sizes(batch, tmp_path):
    weight = write(tmp_path / "m.onnx", batch=batch)
    images = np.random.RandomState(1).rand(5, 3, 4, 4).astype(np.float32)
    model = OnnxModel(str(tmp_path / "m.onnx"))
    np.testing.assert_allclose(model.forward(images), images.reshape(5, -1) @ weight, rtol=1e-5, atol=1e-5)
    assert model.output_shape((4, 4)) == (5,)


def test_wrong_files_are_named(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(InputError, match=r"`model` .*m\.onnx: no such file"):
        OnnxModel(str(path))
    path.write_bytes(b"\x00nothing like it" * 20)
    with pytest.raises(InputError, match=r"m\.onnx: not an ONNX model"):
        OnnxModel(str(path))
    write(path, outputs=2)
    with pytest.raises(InputError, match=r"m\.onnx: expected one output, found out0, out1"):
        OnnxModel(str(path))
    write(path)
    with pytest.raises(InputError, match="cannot take images of 6x4 pixels"):
        OnnxModel(str(path)).forward(np.zeros((2, 3, 6, 4), np.float32))


def test_parameters_in_other_files_are_refused(tmp_path):
    write(tmp_path / "m.onnx")
    model = onnx.load(str(tmp_path / "m.onnx"))
    onnx.save(model, str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.data", size_threshold=0)
    with pytest.raises(InputError, match=r"m\.onnx: has its parameters in other files"):
        OnnxModel(str(tmp_path / "m.onnx"))


def test_equal_files_have_equal_checksums(tmp_path):
    write(tmp_path / "a.onnx")
    write(tmp_path / "b.onnx")
    write(tmp_path / "c.onnx", batch=2)
    a, b, c = (OnnxModel(str(tmp_path / f"{name}.onnx")).checksum for name in "abc")
    assert a == b != c


def images(count, size=4):
    return np.random.RandomState(count).randint(0, 256, (count, size, size, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    "steps, scaling, mean, scale",
    [
        ([], None, 127.5, 1 / 127.5),
        ([("Sub", "Sub_0", [127.5]), ("Mul", "Mul_0", [0.0078125])], None, 0, 1),
        ([("BatchNormalization", "batchnorm0", BATCH_NORM)], (3.0, 0.5), 3, 0.5),
    ],
)
def test_embedder(steps, scaling, mean, scale, tmp_path):
    weight = write(tmp_path / "m.onnx", steps)
    path = str(tmp_path / "m.onnx")
    tested = OnnxEmbedder(OnnxModel(path), batch_size=4, scaling=scaling)
    pixels = (images(6).transpose(0, 3, 1, 2).astype(np.float64) - mean) * scale
    if steps and not scaling:
        pixels = (pixels - 127.5) * 0.0078125
    expected = pixels.reshape(6, -1) @ weight
    np.testing.assert_allclose(tested.embed(images(6)), expected, rtol=1e-3, atol=1e-2)
    blue_first = OnnxEmbedder(OnnxModel(path), bgr=True, scaling=scaling)
    np.testing.assert_array_equal(blue_first.embed(images(6)[..., ::-1])[:4], tested.embed(images(6))[:4])
    assert blue_first.checksum != tested.checksum and tested.settings["mean"] == mean
    with pytest.raises(InputError, match="`model` .*cannot take images of 6x6 pixels"):
        tested.check_size((6, 6))


def test_what_was_found_out_is_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="partial_fc")
    path = str(tmp_path / "m.onnx")
    write(path, [])
    open_embedder(path, None, ModelOptions())
    assert f"{path}: the network gets (pixel - 127.5) * 0.00784314, because it begins with Flatten" in caplog.text


def test_what_cannot_be_guessed_is_asked_for(tmp_path):
    path = str(tmp_path / "m.onnx")
    write(path, [("BatchNormalization", "batchnorm0", BATCH_NORM)])
    with pytest.raises(InputError, match="begins with a batch norm .*`mean` M and `scale` S"):
        open_embedder(path, None, ModelOptions())
    with pytest.raises(InputError, match="`layer` fc1: .*m.onnx is an ONNX model"):
        open_embedder(path, None, ModelOptions(layer="fc1"))


def test_threads_are_those_of_the_rank(tmp_path, monkeypatch):
    path = str(tmp_path / "m.onnx")
    write(path)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert OnnxModel(path)._session.get_session_options().intra_op_num_threads == 3
    assert OnnxModel(path, threads=2)._session.get_session_options().intra_op_num_threads == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--model none.onnx", "--model none.onnx: no such file"),
        ("--model m.onnx --layer fc1", "--layer fc1: m.onnx is an ONNX model"),
        ("--model bn.onnx", "--model bn.onnx: begins with a batch norm .*by --mean M and --scale S"),
        ("--model m.onnx --size 6", "--model m.onnx: cannot take images of 6x6 pixels"),
    ],
)
def test_errors_of_the_command_line_name_its_options(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("m.onnx")
    write("bn.onnx", [("BatchNormalization", "batchnorm0", BATCH_NORM)])
    write_images(tmp_path / "faces", [f"{number}.png" for number in range(4)], 4)
    assert main(["embed", "out.npy", "--images", "faces", *arguments.split()]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert main(["embed", "out.npy", "--images", "faces", "--model", "m.onnx"]) == 0
    assert np.load("out.npy").shape == (4, 5)


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_two_photos(batch, tmp_path, monkeypatch, capsys):
    """`eval pair` with a graph of a free or a fixed batch size, against its one product."""
    monkeypatch.chdir(tmp_path)
    weight = write("m.onnx", batch=batch)
    images = write_images(tmp_path, ["a.png", "b.png"], 4).astype(np.float64)
    both = sum(
        (each.transpose(0, 3, 1, 2).reshape(2, -1) / 127.5 - 1) @ weight for each in (images, images[:, :, ::-1])
    )
    expected = both[0] @ both[1] / np.linalg.norm(both[0]) / np.linalg.norm(both[1])
    assert main(["pair", "a.png", "b.png", "--model", "m.onnx", "--size", "4", "--threshold", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cosine"] == pytest.approx(expected, abs=1e-5) and found["same"] == (expected >= 0)
