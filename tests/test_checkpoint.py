import os
from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest
from safetensors import SafetensorError

from partial_fc import checkpoint
from partial_fc.checkpoint import (
    centers_path,
    load_centers,
    load_parameters,
    remove_other_centers,
    save_centers,
    save_model,
)
from partial_fc.errors import InputError
from partial_fc.memory_bank import MemoryBank
from partial_fc.symbol import get_symbol

NUM_CLASSES, EMBEDDING_SIZE = 31, 8


def bank(world_size, rank, num_classes=NUM_CLASSES, embedding_size=EMBEDDING_SIZE, seed=0):
    return MemoryBank(num_classes, embedding_size, SimpleNamespace(rank=rank, world_size=world_size), seed=seed)


def banks(world_size, **arguments):
    return [bank(world_size, rank, **arguments) for rank in range(world_size)]


def joined(shards):
    """Centers and momentum of all ranks."""
    return [np.concatenate([getattr(each, name).asnumpy() for each in shards if each.num_local])
            for name in ("weight", "weight_mom")]


def save(folder, world_size, num_classes=NUM_CLASSES):
    """Files of random centers and momentum; returns them."""
    random = np.random.RandomState(0)
    values = [random.randn(num_classes, EMBEDDING_SIZE).astype(np.float32) for _ in range(2)]
    for each in banks(world_size, num_classes=num_classes):
        each.set(each.partition.class_start, *(value[slice(*each.partition)] for value in values))
        save_centers(str(folder), each, world_size)
    return values


@pytest.mark.parametrize("readers", [1, 2, 3, 5])
@pytest.mark.parametrize("writers", [1, 2, 3])
def test_centers_are_read_by_any_number_of_ranks(writers, readers, tmp_path):
    values = save(tmp_path, writers)
    assert sorted(os.listdir(tmp_path)) == [
        f"centers-{rank:05d}-of-{writers:05d}.safetensors" for rank in range(writers)
    ]
    shards = banks(readers, seed=1)
    for each in shards:
        load_centers(str(tmp_path), each)
    for array, expected in zip(joined(shards), values):
        assert np.array_equal(array, expected)


@pytest.mark.parametrize("writers, readers", [(1, 5), (5, 1), (5, 5), (5, 2)])
def test_more_ranks_than_classes(writers, readers, tmp_path):
    values = save(tmp_path, writers, num_classes=3)
    assert len(os.listdir(tmp_path)) == min(writers, 3)
    shards = banks(readers, num_classes=3, seed=1)
    for each in shards:
        load_centers(str(tmp_path), each)
    for array, expected in zip(joined(shards), values):
        assert np.array_equal(array, expected)


def test_missing_file_is_told(tmp_path):
    save(tmp_path, 3)
    os.remove(centers_path(str(tmp_path), 1, 3))
    load_centers(str(tmp_path), bank(3, 0))
    with pytest.raises(InputError, match=rf"{tmp_path}: 10 of the classes \[0, 31\) are in none of its 2 files"):
        load_centers(str(tmp_path), bank(1, 0))


def test_folder_without_files(tmp_path):
    with pytest.raises(InputError, match=r"31 of the classes \[0, 31\) are in none of its 0 files"):
        load_centers(str(tmp_path), bank(1, 0))


def test_missing_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        load_centers(str(tmp_path / "nowhere"), bank(1, 0))


def test_damaged_file_is_an_input_error(tmp_path):
    save(tmp_path, 1)
    path = centers_path(str(tmp_path), 0, 1)
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
    with pytest.raises(InputError, match="centers-00000-of-00001"):
        load_centers(str(tmp_path), bank(1, 0))


def test_files_of_two_runs_in_one_folder_are_not_mixed(tmp_path):
    # A run on 3 ranks after one on 2 in the same folder: the classes are in several files, none of them is missing.
    save(tmp_path, 2)
    save(tmp_path, 3)
    with pytest.raises(InputError) as error:
        load_centers(str(tmp_path), bank(1, 0))
    assert "-31 of the classes" not in str(error.value)


@pytest.mark.parametrize("arguments", [dict(num_classes=30), dict(num_classes=32), dict(embedding_size=9)])
def test_other_numbers_of_classes_or_dimensions(arguments, tmp_path):
    save(tmp_path, 2)
    other = bank(1, 0, **arguments)
    before = other.weight.asnumpy()
    expected = f"expected {other.num_classes} of size {other.embedding_size}"
    with pytest.raises(InputError, match=f"centers-00000-of-00002.*31 classes of size 8, {expected}"):
        load_centers(str(tmp_path), other)
    assert np.array_equal(other.weight.asnumpy(), before)


def test_failed_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(tensors, path, metadata):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_centers(str(tmp_path), bank(1, 0), 1)
    assert os.listdir(tmp_path) == []


def trained(symbol):
    """A module with parameters that are not the initial ones."""
    module = mx.mod.Module(symbol, label_names=None, context=mx.cpu())
    module.bind([("data", (2, 3, 16, 16))], for_training=False)
    module.init_params(mx.init.Normal(0.1))
    arg_params, aux_params = module.get_params()
    for array in aux_params.values():
        array[:] = mx.nd.random.uniform(0.5, 2, array.shape)
    module.set_params(arg_params, aux_params)
    return module


def predict(module, images):
    module.forward(mx.io.DataBatch([mx.nd.array(images)]), is_train=False)
    return module.get_outputs()[0].asnumpy()


def test_model_predicts_the_same_when_mxnet_loads_it(tmp_path):
    images = np.random.RandomState(0).randint(0, 256, (2, 3, 16, 16))
    module = trained(get_symbol("demo", EMBEDDING_SIZE))
    prefix = str(tmp_path / "model")
    save_model(prefix, module.symbol, *module.get_params())
    assert sorted(os.listdir(tmp_path)) == ["model-0000.params", "model-symbol.json"]
    symbol, arg_params, aux_params = mx.model.load_checkpoint(prefix, 0)
    loaded = mx.mod.Module(symbol, label_names=None, context=mx.cpu())
    loaded.bind([("data", (2, 3, 16, 16))], for_training=False)
    loaded.set_params(arg_params, aux_params)
    assert np.array_equal(predict(loaded, images), predict(module, images))


def test_failed_save_of_a_model_leaves_no_params(tmp_path, monkeypatch):
    def fail(path, arrays):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(mx.nd, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(str(tmp_path / "model"), mx.sym.Variable("data"), {}, {})
    assert not [name for name in os.listdir(tmp_path) if name != "model-symbol.json"]


def test_centers_of_another_number_of_ranks_are_removed(tmp_path):
    save(tmp_path, 3)
    save(tmp_path, 2)
    remove_other_centers(str(tmp_path), 2)
    assert sorted(os.listdir(tmp_path)) == [f"centers-{rank:05d}-of-00002.safetensors" for rank in range(2)]


@pytest.fixture
def model(tmp_path):
    """Path of saved parameters `a` (2, 3), `b` (4,) and `c` (1,), and what is in it by name."""
    values = {"a": mx.nd.ones((2, 3)), "b": mx.nd.arange(4), "c": mx.nd.full((1,), 7)}
    arg_params = {name: values[name] for name in "ab"}
    save_model(str(tmp_path / "model"), mx.sym.Variable("data"), arg_params, {"c": values["c"]})
    return str(tmp_path / "model-0000.params"), values


def test_load_parameters(model):
    path, values = model
    parameters = {name: mx.nd.zeros_like(array) for name, array in values.items()}
    parameters["d"] = parameters.pop("b")
    assert load_parameters(path, parameters) == (["d"], ["b"])
    assert all(np.array_equal(parameters[name].asnumpy(), values[name].asnumpy()) for name in "ac")
    assert not parameters["d"].asnumpy().any()


def test_parameter_of_another_shape_is_named_and_nothing_is_copied(model):
    parameters = {"a": mx.nd.zeros((2, 3)), "b": mx.nd.zeros(5)}
    with pytest.raises(InputError, match=r"model-0000\.params: b has shape \(4,\), this network's has \(5,\)"):
        load_parameters(model[0], parameters)
    assert not parameters["a"].asnumpy().any()


def test_unreadable_parameters_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere-0000.params: no such file"):
        load_parameters(str(tmp_path / "nowhere-0000.params"), {})
    (tmp_path / "garbage").write_bytes(b"garbage" * 100)
    with pytest.raises(InputError, match="garbage: not a file of named"):
        load_parameters(str(tmp_path / "garbage"), {})
    mx.nd.save(str(tmp_path / "list"), [mx.nd.ones(1)])
    with pytest.raises(InputError, match="list: not a file of named"):
        load_parameters(str(tmp_path / "list"), {})


@pytest.mark.parametrize("error", [mx.base.MXNetError("stack\nCheck failed: disk full"), SafetensorError("disk full")])
def test_file_that_cannot_be_written_is_named_and_leaves_the_old_one(error, model, monkeypatch):
    def fail(*_):
        raise error

    before = open(model[0], "rb").read()
    monkeypatch.setattr(mx.nd, "save", fail)
    with pytest.raises(OSError, match=r"model-0000\.params: cannot be written: .*disk full"):
        save_model(model[0].replace("-0000.params", ""), mx.sym.Variable("data"), {}, {})
    assert open(model[0], "rb").read() == before
