"""The benchmark of the backbone: what it measures, and what it writes."""

import json

import numpy as np
import pytest

from benchmarks import backbone
from partial_fc.symbol import get_symbol


def test_writes_a_case_for_each_precision(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = tmp_path / "b.json"
    assert backbone.main(["--networks", "demo", "--runs", "1", "--json", str(path)]) == 0
    cases = json.loads(path.read_text())["cases"]
    assert [(case["network"], case["precision"]) for case in cases] == [("demo", "float32"), ("demo", "bfloat16")]
    assert all(0 < case["floor_seconds"] and 0 < case["step_seconds"] for case in cases)
    assert cases[0]["stock_seconds"] == cases[1]["stock_seconds"]
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2 + len(cases)


def test_refuses_other_numbers_of_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(SystemExit):
        backbone.main(["--networks", "demo"])


@pytest.mark.parametrize("precision, low", [("float32", 0), ("bfloat16", 4)])
def test_the_floor_is_every_product_once(monkeypatch, precision, low):
    steps = []
    monkeypatch.setattr(backbone, "step", lambda symbol, without: steps.append((symbol, without)))
    list(backbone.products(get_symbol("demo"), precision))
    assert [bool(without) for _, without in steps] == [True, False, False, False, False]  # images have no gradient
    types = [symbol.infer_type()[1][0] for symbol, _ in steps]
    assert sum(dtype is not np.float32 for dtype in types) == low
    shapes = [symbol.infer_shape()[1][0] for symbol, _ in steps]
    inner = get_symbol("demo").get_internals()
    expected = dict(zip(inner.list_outputs(), inner.infer_shape(data=backbone.SHAPE)[1]))
    assert shapes == [expected[f"{name}_output"] for name in (*(f"stage{i}_conv" for i in (1, 2, 3, 4)), "pre_fc1")]
