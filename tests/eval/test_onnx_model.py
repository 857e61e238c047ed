"""ONNX models of others: what is found out about their input, and what is refused."""

import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.eval.onnx_model import OnnxModel

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
    with pytest.raises(InputError, match=r"--model .*m\.onnx: no such file"):
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


def test_equal_files_have_equal_checksums(tmp_path):
    write(tmp_path / "a.onnx")
    write(tmp_path / "b.onnx")
    write(tmp_path / "c.onnx", batch=2)
    a, b, c = (OnnxModel(str(tmp_path / f"{name}.onnx")).checksum for name in "abc")
    assert a == b != c
