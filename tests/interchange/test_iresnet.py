"""Names and numbers of arcface_torch's networks, against its architecture computed operator by operator."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.eval.embedding import Embedder
from partial_fc.eval.model import load_model
from partial_fc.interchange.compare import difference
from partial_fc.interchange.convert import from_arcface_torch, network_name, to_arcface_torch
from partial_fc.interchange.iresnet import from_iresnet, to_iresnet
from partial_fc.interchange.state_file import read_state, write_state
from partial_fc.symbol.resnet import UNITS

from helpers.models import write_network

SIZE = 32  # with 16, the last map is one pixel, after which MXNet may crash: docs/networks.md


def batch_norm(x, state, name):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    gain, bias, mean, var = (
        state[f"{name}.{each}"].reshape(shape) for each in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * gain + bias


def convolution(x, weight, stride=1):
    pad = (weight.shape[2] // 2,) * 2
    arrays = mx.nd.array(x), mx.nd.array(weight)
    kernel, stride = weight.shape[2:], (stride, stride)
    return mx.nd.Convolution(
        *arrays, kernel=kernel, stride=stride, pad=pad, num_filter=weight.shape[0], no_bias=True
    ).asnumpy()


def prelu(x, slope):
    return np.where(x > 0, x, slope.reshape(1, -1, 1, 1) * x)


def iresnet(state, images):
    """Embeddings by the description of arcface_torch's network, images (n, 3, H, W) of pixels 0..255."""
    x = (images / 255 - 0.5) / 0.5
    x = prelu(batch_norm(convolution(x, state["conv1.weight"]), state, "bn1"), state["prelu.weight"])
    for stage in range(1, 5):
        for unit in range(len([name for name in state if name.startswith(f"layer{stage}.") and "bn1.weight" in name])):
            name, stride = f"layer{stage}.{unit}", 2 if unit == 0 else 1
            y = convolution(batch_norm(x, state, f"{name}.bn1"), state[f"{name}.conv1.weight"])
            y = prelu(batch_norm(y, state, f"{name}.bn2"), state[f"{name}.prelu.weight"])
            y = batch_norm(convolution(y, state[f"{name}.conv2.weight"], stride), state, f"{name}.bn3")
            if unit == 0:
                x = batch_norm(
                    convolution(x, state[f"{name}.downsample.0.weight"], stride), state, f"{name}.downsample.1"
                )
            x = x + y
    x = batch_norm(x, state, "bn2").reshape(len(x), -1)
    return batch_norm(x @ state["fc.weight"].T + state["fc.bias"], state, "features")


@pytest.fixture
def images():
    return np.random.RandomState(1).randint(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8)


def embed(prefix, images):
    return Embedder(load_model(prefix), batch_size=4).embed(images)


@pytest.mark.parametrize("depth", [18, 34, 50, 100, 200])
def test_every_depth_computes_the_same_under_both_names(depth, tmp_path, images):
    prefix, path, back = (str(tmp_path / f"{depth}{each}") for each in ("", ".safetensors", "back"))
    write_network(prefix, f"r{depth}", embedding_size=24, image_size=SIZE)
    assert to_arcface_torch(load_model(prefix), path) == list(UNITS[depth])
    expected = embed(prefix, images)
    state = read_state(path)
    found = iresnet(state, images.transpose(0, 3, 1, 2).astype(np.float64))
    assert difference(expected, found).relative < 1e-4 and difference(expected, found).cosine > 0.99999
    units, size, embedding_size = from_arcface_torch(path, back)
    assert network_name(units) == f"r{depth}" and (size, embedding_size) == (SIZE, 24)
    assert difference(expected, embed(back, images)).relative < 3e-5


def test_a_network_of_pytorch_loads_the_file_strictly(tmp_path, images):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    prefix, path = str(tmp_path / "r18"), str(tmp_path / "r18.pt")
    write_network(prefix, "r18", embedding_size=24, image_size=SIZE)
    to_arcface_torch(load_model(prefix), path)
    network = torch_iresnet(torch, UNITS[18], 24, SIZE // 16)
    network.load_state_dict(torch.load(path, weights_only=True), strict=True)
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        found = network.eval()((pixels / 255 - 0.5) / 0.5).numpy()
    assert difference(embed(prefix, images), found).relative < 1e-4
    units, _, _ = from_arcface_torch(path, str(tmp_path / "back"))
    assert units == list(UNITS[18])
    assert difference(found, embed(str(tmp_path / "back"), images)).relative < 1e-4


def torch_iresnet(torch, units, embedding_size, side):
    """arcface_torch's network, written from its description."""
    nn = torch.nn

    class Unit(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
            self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
            self.prelu = nn.PReLU(outputs)
            if stride > 1:
                shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

        def forward(self, x):
            y = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
            return y + (self.downsample(x) if hasattr(self, "downsample") else x)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1, self.prelu = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)
            inputs = 64
            for stage, (count, outputs) in enumerate(zip(units, (64, 128, 256, 512)), start=1):
                layers = [
                    Unit(inputs if unit == 0 else outputs, outputs, 2 if unit == 0 else 1) for unit in range(count)
                ]
                setattr(self, f"layer{stage}", nn.Sequential(*layers))
                inputs = outputs
            self.bn2, self.fc = nn.BatchNorm2d(512), nn.Linear(512 * side * side, embedding_size)
            self.features = nn.BatchNorm1d(embedding_size)

        def forward(self, x):
            x = self.prelu(self.bn1(self.conv1(x)))
            for stage in range(1, 5):
                x = getattr(self, f"layer{stage}")(x)
            return self.features(self.fc(self.bn2(x).flatten(1)))

    return Network()


def state_of(tmp_path, **changed):
    prefix = str(tmp_path / "model")
    write_network(prefix, "r18", embedding_size=8, image_size=SIZE)
    parameters = {name: array.asnumpy() for name, array in load_model(prefix).parameters.items()}
    return {**to_iresnet(parameters), **changed}


def test_small_variances_and_a_gain_at_the_end_are_kept(tmp_path, images):
    state = state_of(tmp_path)
    random = np.random.RandomState(0)
    for name in ("features.running_var", "bn1.running_var", "layer2.0.bn2.running_var"):
        state[name] = random.choice([1e-7, 3e-6, 1e-5, 0.5], state[name].shape).astype(np.float32)
    state["features.weight"] = random.uniform(-2, 2, 8).astype(np.float32)
    path = str(tmp_path / "changed.safetensors")
    write_state(path, {f"module.{name}": array for name, array in state.items()})
    from_arcface_torch(path, str(tmp_path / "back"))
    expected = iresnet(state, images.transpose(0, 3, 1, 2).astype(np.float64))
    assert difference(expected, embed(str(tmp_path / "back"), images)).relative < 1e-4


@pytest.mark.parametrize(
    "change, error",
    [
        (lambda state: state.pop("layer3.1.bn2.bias"), r"lacks parameter layer3\.1\.bn2\.bias \(1 in all\)"),
        (lambda state: state.update({"head.weight": state["fc.bias"]}), r"has another parameter head\.weight"),
        (
            lambda state: state["fc.weight"].__setitem__((0, 0), np.nan),
            "pre_fc1_weight: has numbers that are not finite",
        ),
        (lambda state: state.update({"fc.weight": np.zeros((8, 1024), np.float32)}), "is not of square images"),
        (
            lambda state: state.update({"layer1.0.conv1.weight": np.zeros((32, 64, 3, 3), np.float32)}),
            r"stage1_unit1_conv1_weight has shape \(32, 64, 3, 3\), expected \(64, 64, 3, 3\)",
        ),
        (
            lambda state: [state.pop(name) for name in list(state) if "layer3" in name],
            "residual network of four stages",
        ),
    ],
)
def test_other_networks_are_refused(change, error, tmp_path):
    state = state_of(tmp_path)
    change(state)
    path = str(tmp_path / "changed.safetensors")
    write_state(path, state)
    with pytest.raises(InputError, match=rf"changed\.safetensors: .*{error}"):
        from_arcface_torch(path, str(tmp_path / "back"))
    assert not list(tmp_path.glob("back*"))


def test_another_network_of_ours_has_no_such_form(tmp_path):
    prefix = str(tmp_path / "demo")
    write_network(prefix, "demo", embedding_size=8, image_size=SIZE)
    with pytest.raises(InputError, match="cannot become a network of arcface_torch"):
        to_arcface_torch(load_model(prefix), str(tmp_path / "demo.safetensors"))


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nothing like it")
    with pytest.raises(InputError, match=r"x\.safetensors: damaged"):
        from_arcface_torch(str(path), str(tmp_path / "back"))


def test_a_pickle_is_not_executed(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    path, mark = str(tmp_path / "evil.pt"), tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return open, (str(mark), "w")

    torch.save({"weight": Evil()}, path)
    with pytest.raises(InputError, match=r"evil\.pt: not a file of tensors alone"):
        from_arcface_torch(path, str(tmp_path / "back"))
    assert not mark.exists()


def test_without_pytorch_the_other_format_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(InputError, match=r"x\.pt: needs PyTorch, which is not installed; \.safetensors files do not"):
        read_state(str(tmp_path / "x.pt"))


def test_units_are_read_from_the_names():
    with pytest.raises(InputError, match="four stages"):
        from_iresnet({"layer1.0.bn1.weight": np.ones(3), "layer1.2.bn1.weight": np.ones(3)})
