"""Parameters as other programs and versions of MXNet save them: loaded, or refused by what they are."""

import struct

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from partial_fc.checkpoint.model_files import read_parameters
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run
from partial_fc.errors import InputError
from partial_fc.eval.embedding import Embedder
from partial_fc.eval.model import load_model
from partial_fc.training.pretrained import read_pretrained

from helpers.models import write_network

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA


def container(version, name=b"arg:a", values=VALUES):
    """A file of one array as versions of MXNet write it: before 0.12 without a mark, V1, V2 (1.x), V3 (np)."""
    if version is None:
        array = struct.pack(f"<I{values.ndim}I", values.ndim, *values.shape)
    else:
        array = struct.pack("<I", version) + (struct.pack("<i", 0) if version in (V2, V3) else b"")
        array += struct.pack(f"<i{values.ndim}q", values.ndim, *values.shape)
    array += struct.pack("<3i", 1, 0, 0) + values.tobytes()
    return struct.pack("<3Q", 0x112, 0, 1) + array + struct.pack("<2Q", 1, len(name)) + name


@pytest.mark.parametrize("version", [None, V1, V2, V3])
def test_every_version_of_the_format_loads(version, tmp_path):
    path = tmp_path / "a-0000.params"
    path.write_bytes(container(version))
    assert np.array_equal(read_parameters(str(path))["a"].asnumpy(), VALUES)


def test_what_is_written_is_what_mxnet_writes(tmp_path):
    mx.nd.save(str(tmp_path / "a"), {"arg:a": mx.nd.array(VALUES)})
    assert (tmp_path / "a").read_bytes() == container(V2)


def as_arrays_of_numpy(path):
    arrays = mx.nd.load(path)
    with mx.util.np_shape(True):
        mx.nd.save(path, arrays)
    with open(path, "rb") as file:
        assert struct.pack("<I", V3) in file.read(64)


def as_halves(path):
    mx.nd.save(path, {name: array.astype("float16") for name, array in mx.nd.load(path).items()})


def as_doubles(path):
    mx.nd.save(path, {name: array.astype("float64") for name, array in mx.nd.load(path).items()})


@pytest.mark.parametrize("change, tolerance", [(as_arrays_of_numpy, 0), (as_halves, 2e-2), (as_doubles, 0)])
def test_models_of_other_arrays_embed_and_train(change, tolerance, tmp_path):
    prefix = str(tmp_path / "m")
    write_network(prefix, "demo", embedding_size=24, image_size=16)
    images = np.random.RandomState(0).randint(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    expected = Embedder(load_model(prefix)).embed(images)
    change(prefix + "-0000.params")
    found = Embedder(load_model(prefix)).embed(images)
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
    sizes = ["--set=embedding_size=24", "--set=image_size=16"]
    loaded = read_pretrained(Run(from_command_line(["--pretrained", prefix, *sizes]), "models", 5), rank=0)
    weight = mx.nd.zeros(loaded["pre_fc1_weight"].shape)
    loaded["pre_fc1_weight"].copyto(weight)  # as `load_pretrained` does
    assert weight.dtype == np.float32 and np.abs(weight.asnumpy()).max() > 0.01


def test_an_array_of_numpy_without_dimensions_is_named(tmp_path):
    path = tmp_path / "a-0000.params"
    path.write_bytes(container(V3, b"arg:temperature", np.float32(3)))
    with pytest.raises(InputError, match=r"temperature has no dimensions, which only MXNet's NumPy arrays"):
        read_parameters(str(path))


def test_parameters_of_gluon_s_blocks_are_named(tmp_path):
    network = nn.HybridSequential()
    network.add(nn.Dense(3, in_units=2))
    network.initialize()
    path = str(tmp_path / "m-0000.params")
    network.save_parameters(path)
    with pytest.raises(
        InputError, match=r"do not begin with arg: or aux:, such as 0\.weight: .*`net\.export\(PREFIX\)`"
    ):
        read_parameters(path)


def test_arrays_without_names_are_refused(tmp_path):
    path = str(tmp_path / "m-0000.params")
    mx.nd.save(path, [mx.nd.ones(3)])
    with pytest.raises(InputError, match="not a file of named MXNet parameters"):
        read_parameters(path)
