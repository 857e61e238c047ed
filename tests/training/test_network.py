"""A network of the user's, exported by Gluon, as the backbone of a run."""

import json
import os
import sys

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from partial_fc.backbone.pixels import pixels_of
from partial_fc.checkpoint.model_files import read_parameters
from partial_fc.cli.eval.main import main as evaluate
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run
from partial_fc.errors import CollectiveError, InputError
from partial_fc.eval.embedding import Embedder
from partial_fc.eval.model import load_model
from partial_fc.training.build import check_network
from partial_fc.training.network import network_symbol, parameter_shapes
from partial_fc.training.pretrained import read_pretrained
from partial_fc.training.run_folder import _default_root

from helpers.gluon import export_gluon
from helpers.paths import ROOT
from helpers.protocols import write_images
from helpers.ranks import run, succeed
from helpers.shards import Shards

SIZE = 48


def config_of(prefix, *arguments, size=16, embedding_size=16):
    sizes = [f"--set=embedding_size={embedding_size}", f"--set=image_size={size}"]
    return from_command_line(["--network", str(prefix), *sizes, *arguments])


def train(folder, line):
    """What `partial-fc train` prints in a folder."""
    command = [sys.executable, "-m", "partial_fc", "train", *line.split()]
    return succeed(run(command, cwd=str(folder), PYTHONPATH=os.path.join(ROOT, "src")))


def test_trains_and_evaluates(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("nets")
    export_gluon("nets/mine", size=SIZE)
    values = dict(max_update=3, embedding_size=16, verbose=3, loss_s=16, backbone_lr=0.001, batch_size=8)
    short = " ".join(f"--set {key}={value}" for key, value in values.items())
    printed = train(tmp_path, f"--network nets/mine --pretrained nets/mine {short}")
    assert "--network nets/mine: raw RGB images of 48 x 48 pixels to embeddings of 16 numbers" in printed
    root = "models/demo-mine-cosface"
    with open(f"{root}/summary.json") as file:
        assert json.load(file)["network"] == "nets/mine"
    model = load_model(f"{root}/model")
    assert model.scaling == (0.0, 1.0) and not model.ambiguous  # scaling has become part of it
    before, after = (read_parameters(f"{prefix}-0000.params") for prefix in ("nets/mine", f"{root}/model"))
    assert set(before) == set(after)
    weights = [each["net_dense0_weight"].asnumpy() for each in (before, after)]
    assert 0 < np.abs(weights[0] - weights[1]).max() < 0.5 * np.abs(weights[0]).max()  # it starts from the file
    write_images(tmp_path / "faces", ["a.png", "b.png"], SIZE)
    assert evaluate(["embed", "x.npy", "--images", "faces", "--model", f"{root}/model"]) == 0
    assert np.load("x.npy").shape == (2, 16)
    resume = f"--models-root {root} --resume auto --network nets/mine {short}".replace("update=3", "update=4")
    assert "continuing from update 3" in train(tmp_path, resume)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_that_was_cast_to_float16_trains_and_evaluates(precision, tmp_path, monkeypatch):
    """Gluon writes the type into the variables of the symbol."""
    monkeypatch.chdir(tmp_path)
    network = export_gluon("half", size=SIZE, dtype="float16")
    with open("half-symbol.json") as file:
        assert {node.get("attrs", {}).get("__dtype__") for node in json.load(file)["nodes"]} >= {"2"}
    images = write_images(tmp_path / "faces", ["a.png", "b.png"], SIZE)
    network.cast("float32")
    expected = network(mx.nd.array((images.transpose(0, 3, 1, 2) - 127.5) / 128)).asnumpy()
    embed = "embed", "--images", "faces", "--precision", precision, "--device", "cpu"
    assert evaluate([*embed, "half.npy", "--model", "half"]) == 0
    limit = {"float32": 1e-5, "bfloat16": 0.02}[precision]
    assert np.linalg.norm(np.load("half.npy") - expected) <= limit * np.linalg.norm(expected)
    values = dict(max_update=2, embedding_size=16, verbose=2, loss_s=16, backbone_lr=0.001, batch_size=8)
    short = " ".join(f"--set {key}={value}" for key, value in values.items())
    train(tmp_path, f"--network half --pretrained half --precision {precision} --set device=cpu {short}")
    assert evaluate([*embed, "trained.npy", "--model", "models/demo-half-cosface/model"]) == 0
    assert np.isfinite(np.load("trained.npy")).all()


def test_computes_what_gluon_does(tmp_path):
    network = export_gluon(tmp_path / "g")
    symbol = network_symbol(config_of(tmp_path / "g", "--batch-size", "3"))
    images = np.random.RandomState(0).randint(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    expected = network(mx.nd.array((images.transpose(0, 3, 1, 2) - 127.5) / 128)).asnumpy()
    model = load_model(str(tmp_path / "g"))._replace(symbol=symbol, scales_input=True)
    np.testing.assert_allclose(Embedder(model).embed(images), expected, rtol=1e-4, atol=1e-5)
    assert symbol.list_outputs() == ["net_dense0_fwd_output"]


class Scaled(nn.HybridBlock):
    def hybrid_forward(self, F, x):
        return (x - 127.5) / 128


class Constant(nn.HybridBlock):
    def __init__(self):
        super().__init__()
        self.offset = self.params.get("offset", shape=(1, 16))

    def hybrid_forward(self, F, x, offset):
        return F.broadcast_add(x, offset)


@pytest.mark.parametrize(
    "first, operators", [((), "_minus_scalar"), ((Scaled(),), "_minus_scalar"), ((nn.BatchNorm(),), "_minus_scalar")]
)
def test_who_scales_the_pixels(first, operators, tmp_path):
    export_gluon(tmp_path / "g", first=first)
    symbol = network_symbol(config_of(tmp_path / "g"))
    assert pixels_of(symbol).begins_with == operators and pixels_of(symbol).raw
    scalings = [node for node in json.loads(symbol.tojson())["nodes"] if node["op"] == "_minus_scalar"]
    assert len(scalings) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            dict(embedding_size=8),
            r"net_dense0_fwd_output has the shape \(64, 16\) .*expected \(64, 8\): embeddings \(N, D\)",
        ),
        (dict(size=4), "cannot take images of 4x4 pixels"),
    ],
)
def test_other_shapes_are_refused(arguments, message, tmp_path):
    export_gluon(tmp_path / "g")
    with pytest.raises(InputError, match=rf"g-symbol\.json: .*{message}"):
        network_symbol(config_of(tmp_path / "g", **arguments))


@pytest.mark.parametrize(
    "setting, message",
    [
        ("net_name=resnet", "net_name=resnet: names another network than --network .*g: --set net_name="),
        ("num_layers=50", "num_layers=50: does not change --network .*g, which is read from a file: leave it at 0"),
        ("net_output=GAP", "net_output=GAP: does not change --network .*g, .*: leave it at FC"),
        ("net_act=relu", "net_act=relu: does not change .* leave it at prelu"),
        ("net_unit=2", "net_unit=2: does not change"),
        ("net_se=1", "net_se=1: does not change"),
        ("net_input=0", "net_input=0: does not change"),
        ("bn_mom=0.99", "bn_mom=0.99: does not change"),
        ("workspace=512", "workspace=512: does not change"),
    ],
)
def test_keys_of_our_networks_are_refused(setting, message, tmp_path):
    export_gluon(tmp_path / "g")
    with pytest.raises(InputError, match=f"^{message}"):
        network_symbol(config_of(tmp_path / "g", f"--set={setting}"))
    network_symbol(config_of(tmp_path / "g", "--set=bn_mom=0.9"))


def test_parameters_need_an_initial_value(tmp_path):
    export_gluon(tmp_path / "g", last=(Constant(),))
    with pytest.raises(InputError, match="no initial value follows for the parameter constant0_offset: "):
        network_symbol(config_of(tmp_path / "g"))


def test_files_of_strangers(tmp_path):
    export_gluon(tmp_path / "g")
    path = tmp_path / "g-symbol.json"
    graph = json.loads(path.read_text())
    graph["nodes"][1]["attrs"]["__init__"] = '["os.system", {}]'
    path.write_text(json.dumps(graph))
    with pytest.raises(InputError, match="no initial value follows for the parameter net_conv0_weight"):
        network_symbol(config_of(tmp_path / "g"))
    graph["nodes"][2]["op"] = "Custom"
    path.write_text(json.dumps(graph))
    with pytest.raises(InputError, match="not a symbol of MXNet that is safe to load: .*Custom"):
        network_symbol(config_of(tmp_path / "g"))


def test_biases_are_spared_from_decay_if_asked(tmp_path):
    export_gluon(tmp_path / "g")
    for bias_decay, expected in (("true", "1.0"), ("false", "0.0")):
        attributes = network_symbol(config_of(tmp_path / "g", f"--set=bias_decay={bias_decay}")).attr_dict()
        assert (
            attributes["net_dense0_bias"]["__wd_mult__"] == attributes["net_batchnorm0_beta"]["__wd_mult__"] == expected
        )
        assert attributes["net_dense0_weight"]["__wd_mult__"] == "1.0"


def test_ranks_must_have_the_same_network(tmp_path):
    export_gluon(tmp_path / "0")
    export_gluon(tmp_path / "1", last=(nn.Dense(16),))
    configs = [config_of(tmp_path / str(rank)) for rank in range(2)]
    Shards(2).run(lambda comm: check_network(configs[0], comm))
    with pytest.raises(CollectiveError, match="rank 1: the checksum of the backbone is .* here, .* on rank 0"):
        Shards(2).run(lambda comm: check_network(configs[comm.rank], comm))


def test_name_of_the_models_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_gluon(tmp_path / "g")
    assert _default_root(config_of(tmp_path / "g")) == os.path.join("models", "demo-g-cosface")


def test_unknown_networks_name_both_ways(tmp_path):
    with pytest.raises(InputError, match="--network .*none: unknown; one of demo, .* or PREFIX of your own network in"):
        config_of(tmp_path / "none")


def test_pretrained_files_of_another_network(tmp_path):
    export_gluon(tmp_path / "g")
    network = export_gluon(tmp_path / "other", last=(nn.Dense(16),))
    run = Run(config_of(tmp_path / "g", "--pretrained", str(tmp_path / "g")), "models", 6)
    shapes = parameter_shapes(network_symbol(run.config), run.config)
    assert set(read_pretrained(run, rank=0)) == set(shapes)
    network.save_parameters(str(tmp_path / "plain-0000.params"))
    run = Run(config_of(tmp_path / "g", "--pretrained", str(tmp_path / "plain")), "models", 6)
    with pytest.raises(InputError, match="written by Gluon's save_parameters, or by hand; Gluon's `net.export"):
        read_pretrained(run, rank=0)
