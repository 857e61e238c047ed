"""The benchmark of the head's step, on a small problem and real ranks; and what it takes for the floor."""

import json

import mxnet as mx
import numpy as np
import pytest

from benchmarks import head
from benchmarks.head_worker import NEGATIVES, Floor, OwnProducts, Problem, matrix_products
from partial_fc.distributed.communicator import Communicator

from reference import relative_error

_DTYPES = {"float32": np.float32, "bfloat16": np.dtype([("bfloat16", np.uint16)])}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_measures_and_prints(precision, monkeypatch, tmp_path, capsys):
    case = dict(num_classes=300, sample_ratio=0.2, embedding_size=8, global_batch_size=16)
    monkeypatch.setattr(head, "CASES", [case])
    assert head.main(["--runs", "1", "--precision", precision, "--json", str(tmp_path / "head.json")]) == 0
    (result,) = json.loads((tmp_path / "head.json").read_text())["cases"]
    assert result["ranks"] == 2 and dict(case, precision=precision).items() <= result.items()
    names = "step", "floor", "products", "published"
    step, floor, products, published = (result[f"{name}_seconds"] for name in names)
    assert result["ratio_to_floor"] == step / floor and result["speedup_vs_published"] == published / step
    assert result["ratio_to_products"] == step / products
    header, _, row, _, sent = capsys.readouterr().out.splitlines()
    assert header == (
        "| case | floor s | products s | ours s | ours / floor | ours / products | published s | speed-up |"
    )
    assert row.startswith(f"| N=300, r=0.2, {precision} | {floor:.2f} | {products:.2f} | {step:.2f} | ")
    assert sent.startswith(f"Each rank sends {result['bytes_sent']:,} bytes per step")


def test_times_steps_that_filter_and_correct(monkeypatch, tmp_path, capsys):
    case = dict(num_classes=300, sample_ratio=0.2, embedding_size=8, global_batch_size=16)
    monkeypatch.setattr(head, "CASES", [case])
    arguments = ["--runs", "1", "--negatives", *head.NEGATIVES, "--json", str(tmp_path / "head.json")]
    assert head.main(arguments) == 0
    (result,) = json.loads((tmp_path / "head.json").read_text())["cases"]
    ratios = [result[f"{name}_seconds"] / result["step_seconds"] for name in head.NEGATIVES]
    header, _, row, *_ = capsys.readouterr().out.splitlines()
    assert header.endswith("| exact / ours | zero / ours | correction / ours |")
    assert row.endswith("| " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


@pytest.mark.parametrize("name", NEGATIVES)
def test_steps_with_negatives_are_other_steps(name):
    problem = Problem(Communicator(), 50, 0.4, 8, 6, "float32")
    assert list(NEGATIVES) == list(head.NEGATIVES)
    losses = [step(*problem.batch(3))[0].asscalar() for step in (problem.ours, problem.other(name))]
    assert abs(losses[0] / losses[1] - 1) > 1e-3


def test_cases_are_those_that_figures_are_compared_for():
    assert [(case["num_classes"], case["sample_ratio"]) for case in head.CASES] == [(50_000, 1), (500_000, 0.1)]
    assert head.RANKS == 2
    assert all(case["embedding_size"] == 512 and case["global_batch_size"] == 1024 for case in head.CASES)


def test_every_operator_of_a_product_computes_it():
    random = np.random.RandomState(0)
    embeddings, weight = random.randn(6, 4), random.randn(9, 4)
    logits = embeddings @ weight.T
    truth = dict(logits=logits, grad_embeddings=logits @ weight, grad_weight=logits.T @ embeddings)
    products = matrix_products(mx.nd.array(embeddings), mx.nd.array(weight))
    assert list(products) == list(truth)
    for name, operators in products.items():
        assert len(operators) > 1
        for call in operators.values():
            assert relative_error(call().asnumpy(), truth[name]) < 1e-5


def test_floor_calls_one_operator_a_product(monkeypatch):
    called = []
    products = {p: {o: lambda p=p, o=o: called.append((p, o)) for o in "xy"} for p in ("first", "second")}
    monkeypatch.setattr("benchmarks.head_worker.matrix_products", lambda embeddings, weight: products)
    monkeypatch.setattr("benchmarks.head_worker.interleave", lambda comm, calls, runs: {"x": [2, 2, 0], "y": [1, 1, 9]})
    floor = Floor(Communicator(), 9, 6, 4)
    floor("what a batch is")
    assert called == [("first", "y"), ("second", "y")] and floor.fastest == {"first": "y", "second": "y"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_own_products_are_those_of_the_head(precision, monkeypatch):
    called = []
    monkeypatch.setattr("benchmarks.head_worker.Products.logits", lambda _, *operands: called.append(operands) or "y")
    monkeypatch.setattr("benchmarks.head_worker.Products.gradients", lambda _, *operands: called.append(operands))
    OwnProducts(precision, 9, 6, 4)("a batch")
    (embeddings, weight), gradients = called
    assert (embeddings.shape, weight.shape) == ((6, 4), (9, 4)) and gradients == ("y", embeddings, weight)
    assert {each.dtype for each in (embeddings, weight)} == {_DTYPES[precision]}


@pytest.mark.parametrize("sample_ratio, num_rows", [(1.0, 50), (0.4, 20)])
def test_ours_and_published_do_the_same_step(sample_ratio, num_rows):
    problem = Problem(Communicator(), 50, sample_ratio, 8, 6, "float32")
    assert problem.num_rows() == num_rows
    losses, grads = zip(*(step(*problem.batch(3)) for step in (problem.ours, problem.published)))
    assert problem.batch(3)[2].tolist() != problem.batch(4)[2].tolist()
    if sample_ratio == 1:
        assert abs(losses[0].asscalar() / losses[1].asscalar() - 1) < 1e-5
        assert relative_error(grads[1].asnumpy(), grads[0].asnumpy()) < 1e-4
        assert relative_error(problem.baseline.weight.asnumpy(), problem.head.bank.weight.asnumpy()) < 1e-4
