import shutil

import mxnet as mx
import numpy as np
import pytest

from partial_fc.checkpoint.model_files import model_paths, save_model
from partial_fc.errors import InputError
from partial_fc.eval.embedding import Embedder
from partial_fc.eval.model import load_model
from partial_fc.symbol import get_symbol

from helpers.models import write_linear_model


@pytest.fixture
def prefix(tmp_path):
    write_linear_model(tmp_path / "model")
    return str(tmp_path / "model")


def save(tmp_path, symbol, size=16):
    """A symbol with parameters of one; returns the prefix."""
    shapes, _, states = symbol.infer_shape(data=(1, 3, size, size))
    arguments = dict(zip(symbol.list_arguments(), map(mx.nd.ones, shapes)))  # `data` among them does no harm
    states = dict(zip(symbol.list_auxiliary_states(), map(mx.nd.ones, states)))
    save_model(str(tmp_path / "own"), symbol, arguments, states)
    return str(tmp_path / "own")


def test_prefix_stands_for_epoch_0(prefix):
    assert model_paths(prefix) == model_paths(prefix + ",0") == (prefix + "-symbol.json", prefix + "-0000.params")


def test_epoch_and_commas_in_a_path(prefix, tmp_path):
    other = tmp_path / "a,b"
    other.mkdir()
    shutil.copy(prefix + "-symbol.json", other / "m-symbol.json")
    shutil.copy(prefix + "-0000.params", other / "m-0012.params")
    assert model_paths(f"{other}/m,12")[1] == f"{other}/m-0012.params"
    with pytest.raises(InputError, match=r"no file .*m-0000\.params; there is .*m-0012\.params"):
        load_model(f"{other}/m")


def test_models_of_insightface_load(tmp_path):
    # its files hold what a training saved: parameters of the head, and of other layers, among them
    symbol = get_symbol("r18", 8)
    shapes, _, states = symbol.infer_shape(data=(1, 3, 112, 112))
    arguments = dict(zip(symbol.list_arguments(), map(mx.nd.ones, shapes)))
    del arguments["data"]
    arguments["fc7_weight"] = mx.nd.ones((3, 8))
    auxiliary = dict(zip(symbol.list_auxiliary_states(), map(mx.nd.ones, states)))
    mx.model.save_checkpoint(str(tmp_path / "m"), 3, symbol, arguments, auxiliary)
    model = load_model(f"{tmp_path}/m,3")
    assert model.symbol.list_outputs() == ["fc1_output"] and model.scales_input
    assert set(arguments) | set(auxiliary) == set(model.parameters)


def test_embeddings_are_found_behind_a_head(tmp_path):
    fc1 = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc1")
    head = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(fc1, num_hidden=9, name="fc7"), name="softmax")
    save_model(str(tmp_path / "m"), head, {name: mx.nd.ones(1) for name in head.list_arguments() if "fc" in name}, {})
    model = load_model(str(tmp_path / "m"))
    assert model.symbol.list_outputs() == ["fc1_output"]
    assert model.symbol.list_arguments() == ["data", "fc1_weight", "fc1_bias"]


def test_other_outputs(tmp_path):
    first = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="first")
    second = mx.sym.FullyConnected(first, num_hidden=4, name="second")
    assert load_model(save(tmp_path, second)).symbol.list_outputs() == ["second_output"]
    prefix = save(tmp_path, mx.sym.Group([first, second]))
    with pytest.raises(InputError, match="outputs first_output, second_output: choose the embeddings with `layer`"):
        load_model(prefix)
    for layer in ("first", "first_output"):
        assert load_model(prefix, layer).symbol.list_outputs() == ["first_output"]
    for layer in ("third", "data", "first_weight"):
        with pytest.raises(InputError, match=f"`layer` {layer}: .*first_output, second_output"):
            load_model(prefix, layer)


@pytest.mark.parametrize(
    "first, scales",
    [
        (lambda data: mx.sym.Convolution(data, num_filter=2, kernel=(3, 3)), False),
        (lambda data: mx.sym.FullyConnected(mx.sym.transpose(mx.sym.identity(data)), num_hidden=2), False),
        (lambda data: mx.sym.BatchNorm(data, name="bn_data"), True),
        (lambda data: mx.sym.Convolution(data - 127.5, num_filter=2, kernel=(3, 3)), True),
        (
            lambda data: mx.sym.broadcast_add(mx.sym.Convolution(data, num_filter=2, kernel=(3, 3)), mx.sym.sum(data)),
            False,
        ),
        (lambda data: mx.sym.identity(data), True),
    ],
)
def test_who_scales_the_pixels(tmp_path, first, scales):
    assert load_model(save(tmp_path, first(mx.sym.Variable("data")))).scales_input is scales


def test_checksum_is_that_of_files_and_output(prefix, tmp_path):
    checksum = load_model(prefix).checksum
    for end in ("-symbol.json", "-0000.params"):
        shutil.copy(prefix + end, f"{tmp_path}/copy{end}")
    assert load_model(f"{tmp_path}/copy,0").checksum == checksum
    assert load_model(prefix, "id").checksum != checksum
    write_linear_model(prefix, seed=4)
    assert load_model(prefix).checksum != checksum


def test_half_precision_becomes_single(tmp_path):
    symbol = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, no_bias=True, name="fc1")
    save_model(str(tmp_path / "m"), symbol, {"fc1_weight": mx.nd.ones((2, 3), dtype="float16")}, {})
    assert load_model(str(tmp_path / "m")).parameters["fc1_weight"].dtype == np.float32


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda prefix: open(prefix + "-symbol.json", "w").write("{}"), "-symbol.json: not a symbol of MXNet"),
        (lambda prefix: open(prefix + "-symbol.json", "w").write("\xff"), "-symbol.json: not a symbol of MXNet"),
        (lambda prefix: open(prefix + "-0000.params", "r+b").truncate(100), "-0000.params: not a file of MXNet arrays"),
        (
            lambda prefix: mx.nd.save(prefix + "-0000.params", {"arg:fc2_weight": mx.nd.ones(1)}),
            "-0000.params: lacks 1 of 1 parameters of .*-symbol.json, such as fc1_weight",
        ),
        (
            lambda prefix: mx.sym.FullyConnected(mx.sym.Variable("x"), num_hidden=2, name="fc1").save(
                prefix + "-symbol.json"
            ),
            "-symbol.json: no input of the name data",
        ),
    ],
)
def test_what_is_wrong_is_named(prefix, damage, message):
    damage(prefix)
    with pytest.raises(InputError, match=message):
        load_model(prefix)


def write(prefix, network, parameters_of=None, rename=lambda name: name):
    """A symbol of one network with parameters of another, under other names."""
    symbol, other = (get_symbol(name, 8) for name in (network, parameters_of or network))
    shapes, _, states = other.infer_shape(data=(1, 3, 112, 112))
    arguments, states = (
        {rename(name): mx.nd.ones(shape) for name, shape in zip(names, shapes) if name != "data"}
        for names, shapes in ((other.list_arguments(), shapes), (other.list_auxiliary_states(), states))
    )
    save_model(str(prefix), symbol, arguments, states)


@pytest.mark.parametrize(
    "files, message",
    [
        (
            dict(network="r18", parameters_of="r34"),
            r"m-0000\.params: 16 convolutions of it are not in .*m-symbol\.json, such as stage1_unit3_conv1_weight",
        ),
        (
            dict(network="r34", parameters_of="r18"),
            r"m-0000\.params: lacks 120 of 276 parameters of .*m-symbol\.json, such as stage1_unit3_bn1_gamma: the",
        ),
        (
            dict(network="demo", rename=lambda name: "module." + name),
            r"lacks 30 of 30 .*: the file's names begin with 'module\.'; save the parameters without it",
        ),
        (
            dict(network="demo", rename=lambda name: name.replace("stage", "")),
            "lacks .* such as stage1_conv_weight: the f",
        ),
    ],
)
def test_symbol_and_parameters_that_do_not_belong_together(files, message, tmp_path):
    write(tmp_path / "m", **files)
    with pytest.raises(InputError, match=message):
        load_model(str(tmp_path / "m"))


def test_what_is_not_used_is_logged(tmp_path, caplog):
    caplog.set_level("INFO", logger="partial_fc")
    fc1 = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, no_bias=True, name="fc1")
    save_model(str(tmp_path / "m"), fc1, {"fc1_weight": mx.nd.ones((2, 3)), "fc7_weight": mx.nd.ones((5, 2))}, {})
    load_model(str(tmp_path / "m"))
    (message,) = caplog.messages
    assert message.endswith("m-symbol.json, not used: fc7_weight")


@pytest.mark.parametrize(
    "make",
    [
        lambda data: mx.sym.Convolution(data, num_filter=4, kernel=(3, 3), name="conv0"),
        lambda data: mx.sym.Convolution((data - 127.5) / 128, num_filter=4, kernel=(3, 3), name="conv0"),
    ],
)
def test_gray_model_is_the_cause_that_is_reported(tmp_path, make):
    symbol = mx.sym.FullyConnected(make(mx.sym.Variable("data")), num_hidden=2, name="fc1")
    shapes, _, _ = symbol.infer_shape(data=(1, 1, 16, 16))
    save_model(str(tmp_path / "m"), symbol, dict(zip(symbol.list_arguments(), map(mx.nd.ones, shapes))), {})
    with pytest.raises(InputError, match=r"m-0000\.params: conv0_weight .* of a network for gray images"):
        load_model(str(tmp_path / "m"))


def test_a_batch_norm_at_the_beginning_is_not_guessed_about(tmp_path):
    model = load_model(save(tmp_path, mx.sym.BatchNorm(mx.sym.Variable("data"), name="batchnorm0_fwd")))
    assert model.ambiguous
    with pytest.raises(InputError, match=r"begins with a batch norm \(BatchNorm\).* by `mean` M and `scale` S"):
        Embedder(model)
    assert Embedder(model, scaling=(0.0, 1.0)).scaling == (0.0, 1.0)
    assert not load_model(save(tmp_path, mx.sym.BatchNorm(mx.sym.Variable("data"), name="bn_data"))).ambiguous
