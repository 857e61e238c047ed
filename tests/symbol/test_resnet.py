"""The residual networks against the lists of published models' parameters, and one unit against NumPy."""

import math
import re
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from partial_fc.symbol import get_symbol, resnet

REFERENCE = Path(__file__).parents[1] / "reference"


def read_reference(network):
    """The number of trainable parameters, and the (kind, name, shape) of arguments and auxiliary states."""
    header, _, *lines = (REFERENCE / f"{network}.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    size = int(re.search(r"(\d+) trainable parameters", header).group(1))
    return size, [(kind, name, tuple(map(int, shape.split("x")))) for kind, name, shape in rows]


@pytest.mark.parametrize("depth", resnet.UNITS)
def test_parameters_are_those_of_published_models(depth):
    symbol = get_symbol(f"r{depth}")
    arg_shapes, out_shapes, aux_shapes = symbol.infer_shape(data=(1, 3, 112, 112))
    size, reference = read_reference(f"r{depth}")
    args = list(zip(symbol.list_arguments(), arg_shapes))
    aux = list(zip(symbol.list_auxiliary_states(), aux_shapes))
    assert [("arg", *row) for row in args] + [("aux", *row) for row in aux] == reference
    assert sum(math.prod(shape) for name, shape in args if name != "data") == size
    assert symbol.list_outputs() == ["fc1_output"] and out_shapes == [(1, 512)]


def test_stride_is_in_the_second_convolution():
    inner = get_symbol("r18").get_internals()
    for stage, size in enumerate((56, 28, 14, 7), start=1):
        for unit, conv1_size in ((1, 2 * size), (2, size)):
            names = [f"stage{stage}_unit{unit}_{conv}_output" for conv in ("conv1", "conv2")]
            group = mx.sym.Group([inner[name] for name in names])
            shapes = group.infer_shape(data=(1, 3, 112, 112))[1]
            assert [shape[2:] for shape in shapes] == [(conv1_size, conv1_size), (size, size)]


def reference_unit(data, params, stride, project):
    """A residual unit in inference, element by element but for the convolutions."""

    def column(name):
        return params[name].reshape(1, -1, 1, 1)

    def norm(x, name):
        scale = column(name + "_gamma") / np.sqrt(column(name + "_moving_var") + 2e-5)
        return (x - column(name + "_moving_mean")) * scale + column(name + "_beta")

    def conv(x, name, stride=1):
        weight = params[name + "_weight"]
        kernel, pad = weight.shape[2:], (weight.shape[2] // 2,) * 2
        return mx.nd.Convolution(
            mx.nd.array(x),
            mx.nd.array(weight),
            num_filter=len(weight),
            kernel=kernel,
            pad=pad,
            stride=(stride, stride),
            no_bias=True,
        ).asnumpy()

    body = norm(conv(norm(data, "u_bn1"), "u_conv1"), "u_bn2")
    body = np.where(body > 0, body, column("u_relu1_gamma") * body)
    body = norm(conv(body, "u_conv2", stride), "u_bn3")
    return body + (norm(conv(data, "u_conv1sc", stride), "u_sc") if project else data)


@pytest.mark.parametrize("stride, project", [(1, False), (1, True), (2, True)])
def test_residual_unit_matches_numpy(stride, project):
    rng = np.random.default_rng(0)
    unit = resnet.residual_unit(mx.sym.Variable("data"), 8, stride, project, "u")
    executor = unit.simple_bind(mx.cpu(), data=(2, 8, 6, 6))
    arrays = {**executor.arg_dict, **executor.aux_dict}
    params = {}
    for name, array in arrays.items():
        if name.endswith("var"):  # near eps, so that a wrong eps shows
            params[name] = rng.uniform(1e-5, 1e-3, array.shape)
        elif "bn" in name and name.endswith("gamma"):  # small, so that the body does not drown the shortcut
            params[name] = rng.normal(0, 0.01, array.shape)
        else:
            params[name] = rng.normal(size=array.shape)
        array[:] = params[name]
    expected = reference_unit(params["data"], params, stride, project)
    output = executor.forward()[0].asnumpy()
    assert np.linalg.norm(output - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("is_train", [False, True])
def test_forward_of_raw_images_is_finite(is_train):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 112, 112))
    module = mx.mod.Module(get_symbol("r18"), label_names=None)
    module.bind([("data", images.shape)], for_training=is_train)
    module.init_params(mx.init.Xavier(rnd_type="gaussian", factor_type="out", magnitude=2))
    module.forward(mx.io.DataBatch([mx.nd.array(images)]))
    embeddings = module.get_outputs()[0].asnumpy()
    assert embeddings.shape == (2, 512)
    assert np.isfinite(embeddings).all() and embeddings.std() > 1e-3
