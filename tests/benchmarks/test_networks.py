"""The comparison of the networks, with a small one."""

import json

import mxnet as mx
import pytest

from benchmarks import networks
from partial_fc.symbol import get_symbol


def test_multiply_adds_by_hand():
    body = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=6, kernel=(3, 3), stride=(2, 2), pad=(1, 1), name="a")
    body = mx.sym.Convolution(body, num_filter=6, kernel=(3, 3), num_group=6, no_bias=True, name="depthwise")
    body = mx.sym.FullyConnected(body, num_hidden=10, name="b")
    expected = 4 * 4 * 6 * 3 * 9 + 2 * 2 * 6 * 9 + 10 * 6 * 2 * 2
    assert networks.multiply_adds(body, 8) == expected


def test_multiply_adds_of_mobilefacenet():
    """221 million, as its paper says (arXiv 1804.07573)."""
    assert networks.multiply_adds(get_symbol("mobilefacenet", 128), 112) == pytest.approx(221e6, rel=0.01)


def test_table_and_figures(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(networks, "SIZE", 32)
    monkeypatch.setattr(networks, "in_own_process", lambda function, *arguments: function(*arguments))
    path = str(tmp_path / "networks.json")
    assert networks.main(["--networks", "demo", "--batch-size", "2", "--runs", "1", "--json", path]) == 0
    with open(path) as file:
        (row,) = json.load(file)["cases"]
    symbol = get_symbol("demo", 512)
    shapes = zip(symbol.list_arguments(), symbol.infer_shape(data=(1, 3, 32, 32))[0])
    assert row["parameters"] == sum(mx.nd.zeros(shape).size for name, shape in shapes if name != "data")
    assert row["training_images_per_second"] > 0 and row["embedding_images_per_second"] > 0
    assert row["memory"] > row["plan"] > 3 * 4 * row["parameters"]
    assert "| demo | " in capsys.readouterr().out


@pytest.mark.parametrize("names, refused", [([], "demo"), (["--networks", "r18", "small"], "small")])
def test_a_network_without_the_activation_is_refused_before_any_is_measured(names, refused, monkeypatch, capsys):
    monkeypatch.setattr(networks, "in_own_process", lambda *_: pytest.fail("measured"))
    with pytest.raises(SystemExit) as end:
        networks.main(["--net-act", "relu", *names])
    message = f"--net-act relu: the network {refused} cannot be changed by net_act"
    assert end.value.code == 2 and message in capsys.readouterr().err
