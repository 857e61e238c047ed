import os

import mxnet as mx
import numpy as np
import pytest
from safetensors.numpy import load_file

from partial_fc.checkpoint.model_files import load_arrays, load_parameters, save_arrays, save_model
from partial_fc.errors import InputError
from partial_fc.symbol import get_symbol

EMBEDDING_SIZE = 8


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
    with pytest.raises(InputError, match="garbage: not a file of MXNet arrays"):
        load_parameters(str(tmp_path / "garbage"), {})
    mx.nd.save(str(tmp_path / "list"), [mx.nd.ones(1)])
    with pytest.raises(InputError, match="list: not a file of named"):
        load_parameters(str(tmp_path / "list"), {})


def test_names_without_prefix_are_the_cause_that_is_reported(tmp_path):
    net = mx.gluon.nn.Dense(2, in_units=3)
    net.initialize()
    net.save_parameters(str(tmp_path / "gluon-0000.params"))
    with pytest.raises(InputError, match=r"gluon-0000\.params: 2 of 2 names do not begin .*weight.*net\.export"):
        load_parameters(str(tmp_path / "gluon-0000.params"), {})
    mx.nd.save(str(tmp_path / "mixed"), {"arg:a": mx.nd.ones(1), "b": mx.nd.ones(1)})
    with pytest.raises(InputError, match="mixed: 1 of 2 names do not begin with arg: or aux:, such as b:"):
        load_parameters(str(tmp_path / "mixed"), {})


@pytest.mark.parametrize("channels, cause", [(1, "gray images"), (4, "images of 4 channels")])
def test_gray_models_are_the_cause_that_is_reported(tmp_path, channels, cause):
    mx.nd.save(str(tmp_path / "gray"), {"arg:conv0_weight": mx.nd.ones((4, channels, 3, 3))})
    with pytest.raises(InputError, match=rf"gray: conv0_weight has shape .* of a network for {cause}, "):
        load_parameters(str(tmp_path / "gray"), {"conv0_weight": mx.nd.zeros((4, 3, 3, 3))})
    other = {"conv0_weight": mx.nd.zeros((5, 3, 3, 3))}  # another network
    with pytest.raises(InputError, match="use the same --network"):
        load_parameters(str(tmp_path / "gray"), other)


def test_file_of_numpy_semantics(tmp_path):
    path = str(tmp_path / "np-0000.params")
    with mx.util.np_shape(True):
        mx.nd.save(path, {"arg:a": mx.nd.ones((2, 3)), "aux:b": mx.nd.ones(4)})
    parameters = {"a": mx.nd.zeros((2, 3)), "b": mx.nd.zeros(4)}
    assert load_parameters(path, parameters) == ([], [])
    assert parameters["a"].asnumpy().all() and parameters["b"].asnumpy().all()
    with mx.util.np_shape(True):
        mx.nd.save(path, {"arg:a": mx.np.array(3.0).as_nd_ndarray()})
    with pytest.raises(InputError, match=r"np-0000\.params: arg:a has no dimensions, .*npx\.set_np.*save it with"):
        load_parameters(path, {"a": mx.nd.zeros(1)})


def test_file_that_cannot_be_written_is_named_and_leaves_the_old_one(model, monkeypatch):
    def fail(*_):
        raise mx.base.MXNetError("stack\nCheck failed: disk full")

    before = open(model[0], "rb").read()
    monkeypatch.setattr(mx.nd, "save", fail)
    with pytest.raises(OSError, match=r"disk full \(\d+ MiB are free\): .*model-0000\.params"):
        save_model(model[0].replace("-0000.params", ""), mx.sym.Variable("data"), {}, {})
    assert open(model[0], "rb").read() == before


@pytest.fixture
def arrays(tmp_path):
    """Path of saved arrays, and what is in it by name."""
    values = {"a": mx.nd.random.normal(shape=(2, 3, 1, 1)), "b": mx.nd.arange(4)}
    save_arrays(str(tmp_path / "arrays"), values)
    return str(tmp_path / "arrays"), values


def test_arrays(arrays):
    path, values = arrays
    loaded = {name: mx.nd.zeros_like(array) for name, array in values.items()}
    load_arrays(path, loaded)
    for name, array in load_file(path).items():
        assert np.array_equal(array, values[name].asnumpy()) and np.array_equal(array, loaded[name].asnumpy())


def test_no_arrays(tmp_path):
    save_arrays(str(tmp_path / "none"), {})
    load_arrays(str(tmp_path / "none"), {})


@pytest.mark.parametrize(
    "others", [dict(a=(2, 3, 1, 1), b=(5,)), dict(a=(2, 3, 1, 1)), dict(a=(2, 3, 1, 1), b=(4,), c=(1,))]
)
def test_other_arrays_are_refused_and_nothing_is_copied(others, arrays):
    loaded = {name: mx.nd.zeros(shape) for name, shape in others.items()}
    with pytest.raises(InputError, match=r"arrays: [bc] has shape .*, this network's has "):
        load_arrays(arrays[0], loaded)
    assert not any(array.asnumpy().any() for array in loaded.values())
