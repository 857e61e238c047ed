"""ONNX files, read by ONNX Runtime as their users do, against MXNet."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.eval.embedding import Embedder
from partial_fc.eval.model import load_model
from partial_fc.eval.onnx_model import OnnxModel
from partial_fc.interchange.compare import check_same, random_images
from partial_fc.interchange.convert import to_onnx
from partial_fc.symbol import NETWORKS

from helpers.models import mobilefacenet, write_linear_model, write_network, write_random_model

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def none(size):
    return np.empty((0, size, size, 3), np.uint8)


def session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 0
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def insightface_scaling(path):
    """Mean and scale that InsightFace's Python package would use: it looks at names of the first eight nodes."""
    names = [node.name for node in onnx.load(path).graph.node[:8]]
    subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
    multiplies = any(name.startswith(("Mul", "_mul")) for name in names)
    return (0.0, 1.0) if subtracts and multiplies else (127.5, 127.5)


def export(tmp_path, network="demo", size=16, **options):
    prefix, path = str(tmp_path / "model"), str(tmp_path / "model.onnx")
    write_network(prefix, network, embedding_size=24, image_size=size)
    model = load_model(prefix)
    to_onnx(model, path, (size, size), none(size), **options)
    return model, path


@pytest.mark.parametrize("network", NETWORKS)
def test_any_number_of_raw_images(network, tmp_path):
    size = 112 if network == "mobilefacenet" else 16  # its last convolution sees 7 x 7 pixels
    model, path = export(tmp_path, network, size)
    images = random_images(5, (size, size), seed=3)
    expected = Embedder(model).embed(images)
    reader = session(path)
    assert [each.name for each in reader.get_inputs()] == ["data"]
    assert reader.get_inputs()[0].shape == ["N", 3, size, size] and reader.get_outputs()[0].shape == ["N", 24]
    for count in (1, 2, 5):
        pixels = images[:count].transpose(0, 3, 1, 2).astype(np.float32)
        check_same(expected[:count], reader.run(None, {"data": pixels})[0], network)
    assert insightface_scaling(path) == (0.0, 1.0)


def test_mobilefacenet(tmp_path):
    prefix, path = str(tmp_path / "model"), str(tmp_path / "model.onnx")
    write_random_model(prefix, mobilefacenet(), 112)
    assert to_onnx(load_model(prefix), path, (112, 112), none(112)).relative < 1e-4


def test_batch_norms_become_part_of_the_convolutions_before_them(tmp_path):
    _, path = export(tmp_path, "r18")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    # Those that stay have no convolution before them: first in each of 8 units, and two around the last layer.
    assert operators.count("BatchNormalization") <= 10
    assert [node.op_type for node in onnx.load(path).graph.node].count("BatchNormalization") == 1 + 8 * 3 + 4 + 2


def test_scaling_and_color_order_of_others_become_part_of_the_graph(tmp_path):
    prefix, path = str(tmp_path / "plain"), str(tmp_path / "plain.onnx")
    write_linear_model(prefix, 8, scales_input=False)
    model = load_model(prefix)
    assert not model.scales_input
    to_onnx(model, path, (8, 8), none(8), scaling=(100.0, 0.01), bgr=True)
    images = random_images(3, (8, 8))
    expected = Embedder(model, scaling=(100.0, 0.01), bgr=True).embed(images)
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
    check_same(expected, session(path).run(None, {"data": pixels})[0], "plain")
    assert insightface_scaling(path) == (0.0, 1.0)


def test_the_file_says_what_it_takes(tmp_path):
    _, path = export(tmp_path, metadata=dict(dataset="lfw", loss="cosface"))
    exported = onnx.load(path)
    assert {each.key: each.value for each in exported.metadata_props} == dict(
        dataset="lfw", loss="cosface", embedding_size="24", color_order="RGB", input_range="0..255", image_size="16x16"
    )
    assert exported.opset_import[0].version == 13 and all(node.name for node in exported.graph.node)


def test_unsupported_operators_are_named(tmp_path):
    prefix, path = str(tmp_path / "model"), tmp_path / "model.onnx"
    data = mx.sym.Variable("data")
    write_random_model(prefix, mx.sym.FullyConnected(mx.sym.erfinv(data / 300), num_hidden=4, name="fc1"), 8)
    with pytest.raises(InputError, match="does not support the operators erfinv"):
        to_onnx(load_model(prefix, operators=("erfinv",)), str(path), (8, 8), none(8))
    assert not path.exists()


def test_a_file_that_computes_something_else_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(OnnxModel, "forward", lambda self, images: np.ones((len(images), 24), np.float32))
    with pytest.raises(InputError, match=r"model\.onnx: does not give the embeddings that MXNet computes"):
        export(tmp_path)
    assert not [each for each in tmp_path.iterdir() if "onnx" in each.name]


def test_without_onnx_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(InputError, match="ONNX needs the package onnx"):
        export(tmp_path)
