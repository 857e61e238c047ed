"""The baseline against the dense float64 reference, on one process and on two real ranks, which run this file, too."""

import os

import mxnet as mx
import numpy as np
import pytest

from benchmarks.measure import ROOT, on_ranks, work
from benchmarks.published import PublishedHead
from partial_fc.distributed.collectives import Communicator, connect
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.partition import partition

from helpers.problem import LOSSES, LR, Problem, assemble, assert_close


def step_on(comm, problem, margin, sample_ratio=1.0):
    """One step of the baseline, as `Problem.step_on` takes one of ours."""
    own = partition(problem.num_classes, comm.world_size, comm.rank)
    before, momentum = (array[slice(*own)] for array in (problem.weight, problem.weight_mom))
    head = PublishedHead(mx.nd.array(before), own.class_start, sample_ratio, MarginSoftmax(*margin), comm)
    head.weight_mom[:] = momentum
    batch = np.split(np.arange(len(problem.labels)), comm.world_size)[comm.rank]
    loss, grad = head.step(mx.nd.array(problem.embeddings[batch]), problem.labels[batch], LR)
    weight, weight_mom = head.weight.asnumpy(), head.weight_mom.asnumpy()
    chosen = np.flatnonzero((weight_mom != momentum).any(axis=1))
    grad_weight = np.zeros_like(before)
    grad_weight[chosen] = ((0.9 * momentum - weight_mom) / LR - 5e-4 * before)[chosen]
    return loss.asnumpy(), grad.asnumpy(), grad_weight, weight, weight_mom, chosen + own.class_start


@pytest.mark.parametrize("loss", ["cosface", "arcface"])
def test_step_equals_the_reference(loss):
    problem, margin = Problem(), LOSSES[loss]
    result, chosen = assemble([step_on(Communicator(), problem, margin)])
    assert len(chosen) == problem.num_classes
    assert_close(result, problem.truth(chosen, margin), 1e-4)


@pytest.mark.parametrize("sample_ratio, expected", [(0.5, 50), (0.01, None)])
def test_sampled_step_equals_the_reference(sample_ratio, expected):
    problem, margin = Problem(), LOSSES["cosface"]
    result, chosen = assemble([step_on(Communicator(), problem, margin, sample_ratio)])
    positives = set(problem.labels)
    assert positives <= set(chosen) and len(chosen) == (expected or len(positives))
    assert_close(result, problem.truth(chosen, margin), 1e-4)


def test_step_on_two_ranks_equals_the_reference(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.path.join(ROOT, "tests"))
    cases = [(loss, sample_ratio) for loss in ("cosface", "arcface") for sample_ratio in (1.0, 0.5)]
    for (loss, _), parts in zip(cases, on_ranks("tests.benchmarks.test_published", cases)):
        result, chosen = assemble([[np.array(field) for field in part] for part in parts])
        assert_close(result, Problem().truth(chosen, LOSSES[loss]), 1e-4)


def rank(comm, cases):
    """What `step_on` returns on every rank, as lists, in each case."""
    parts = [step_on(comm, Problem(), LOSSES[loss], sample_ratio) for loss, sample_ratio in cases]
    return [comm.all_gather_object([field.tolist() for field in part]) for part in parts]


if __name__ == "__main__":
    work(connect(), rank)
