"""Several centers per class on 1, 2, 3 and 5 ranks against the dense float64 reference."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.distributed.communicator import Communicator
from partial_fc.head import block_softmax
from partial_fc.head.host_bank import HostBank
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterAdamW, CenterSGD
from partial_fc.head.partial_fc import PartialFC

from helpers.problem import LOSSES, LR, Problem, assemble, assert_close, float32_bound
from helpers.shards import Shards
from reference import Margin, Step, adamw, relative_error, sub_center_step

every_world = pytest.mark.parametrize("world_size", (1, 2, 3, 5))
every_ratio = pytest.mark.parametrize("sample_ratio", [1.0, 0.3])


def run(problem, world_size, margin, sample_ratio=1.0, **more):
    return assemble(Shards(world_size).run(lambda comm: problem.step_on(comm, margin, sample_ratio, **more)))


@every_world
@every_ratio
@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("count", [2, 3])
def test_step_equals_the_reference(count, loss, sample_ratio, world_size):
    problem = Problem(sub_centers=count)
    result, chosen = run(problem, world_size, LOSSES[loss], sample_ratio)
    assert (len(chosen) == 101) == (sample_ratio == 1)
    assert_close(result, problem.truth(chosen, LOSSES[loss]))


@every_world
@every_ratio
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_saturated_batch(loss, sample_ratio, world_size):
    problem = Problem(sub_centers=3).saturate()
    result, chosen = run(problem, world_size, LOSSES[loss], sample_ratio)
    # Few samples have nearly all of the loss, e^x, and float32 has x up to 64 to 4e-6 only.
    bound = Step(*(max(1e-4, each) for each in float32_bound(problem, chosen, LOSSES[loss])))
    assert_close(result, problem.truth(chosen, LOSSES[loss]), bound)


@pytest.mark.parametrize("make_bank", [MemoryBank, HostBank])
@pytest.mark.parametrize("world_size", (1, 3))
@every_ratio
def test_adamw_updates_all_centers_of_a_chosen_class(sample_ratio, world_size, make_bank):
    problem, margin = Problem(sub_centers=3), LOSSES["arcface"]

    def updated(comm):
        bank = make_bank(101, problem.row_size, comm, sample_ratio, seed=7, states=CenterAdamW.states)
        own = slice(*bank.partition)
        bank.set(bank.partition.class_start, problem.weight[own], *[np.zeros_like(problem.weight[own])] * 2)
        head = PartialFC(bank, MarginSoftmax(*margin), CenterAdamW(0.3), comm, sub_centers=3)
        batch = np.split(np.arange(len(problem.labels)), world_size)[comm.rank]
        head.step(mx.nd.array(problem.embeddings[batch]), head.choose(problem.labels[batch], 0), LR)
        return [array.copy() for array in bank.to_numpy()]

    results = [np.concatenate(each) for each in zip(*Shards(world_size).run(updated))]
    chosen = run(problem, world_size, margin, sample_ratio)[1]
    grad, zeros = problem.truth(chosen, margin).grad_weight[chosen], np.zeros((len(chosen), problem.row_size))
    for array, expected in zip(results, adamw(problem.weight[chosen], zeros, zeros, grad, LR, 0.3, 1)):
        assert relative_error(array[chosen], expected) < 1e-4
    others = np.setdiff1d(np.arange(101), chosen)
    assert (len(others) > 0) == (sample_ratio < 1) and np.array_equal(results[0][others], problem.weight[others])


def test_blocks_of_rows_and_a_large_scale(monkeypatch):
    monkeypatch.setattr(block_softmax, "BLOCK", 7 * 300)
    for margin in (LOSSES["arcface"], Margin(100.0, m3=0.1)):  # without a zero column
        problem = Problem(sub_centers=3)
        result, chosen = run(problem, 2, margin, make_bank=HostBank)
        assert_close(result, problem.truth(chosen, margin))


@pytest.mark.parametrize("num_classes, world_size", [(3, 5), (1, 1), (2, 2), (5, 5)])
def test_few_classes(num_classes, world_size):
    problem, margin = Problem(num_classes, sub_centers=3), LOSSES["arcface"]
    result, chosen = run(problem, world_size, margin)
    truth = problem.truth(chosen, margin)
    if num_classes == 1:
        assert result.loss == truth.loss == 0 and not result.grad_embeddings.any()
    else:
        assert_close(result, truth, float32_bound(problem, chosen, margin))


@pytest.mark.parametrize("world_size", (1, 2, 3))
@every_ratio
def test_bfloat16_is_close_to_the_reference(sample_ratio, world_size):
    """Where two centers of a class are equally close in bfloat16, either may be the closest: gradients differ more."""
    problem, margin = Problem(sub_centers=3), LOSSES["arcface"]
    result, chosen = run(problem, world_size, margin, sample_ratio, precision="bfloat16")
    assert_close(result, problem.truth(chosen, margin), Step(0.01, 0.1, 0.1, 0.03, 0.03))


def test_equal_centers_count_once():
    """The first of them is the closest, in any precision; together they are the class with one center."""
    problem, one = Problem(sub_centers=3), Problem()
    problem.weight[:] = np.tile(one.weight, 3)
    for precision in ("float32", "bfloat16"):
        result, chosen = run(problem, 2, LOSSES["cosface"], precision=precision)
        truth = one.truth(chosen, LOSSES["cosface"])
        assert abs(result.loss - truth.loss) < 0.01 * truth.loss
        assert np.linalg.norm(result.grad_weight[:, :24] - truth.grad_weight) < 0.03 * np.linalg.norm(truth.grad_weight)
        assert not result.grad_weight[:, 24:].any()


@pytest.mark.parametrize("name", ["embeddings", "weight"])
def test_gradients_of_the_reference_are_slopes_of_its_loss(name):
    problem, chosen = Problem(20, 8, 5, sub_centers=3), np.arange(20)
    arrays = dict(embeddings=problem.embeddings.astype(float), weight=problem.weight.astype(float).reshape(20, 3, 5))

    def evaluate():
        return sub_center_step(
            labels=problem.labels,
            weight_mom=arrays["weight"],
            chosen=chosen,
            margin=LOSSES["arcface"],
            lr=LR,
            count=3,
            **arrays,
        )

    analytic = getattr(evaluate(), f"grad_{name}").reshape(arrays[name].shape)
    direction, start, h = np.random.RandomState(2).randn(*arrays[name].shape), arrays[name], 1e-7
    arrays[name] = start + h * direction
    above = evaluate().loss
    arrays[name] = start - h * direction
    assert (above - evaluate().loss) / (2 * h) == pytest.approx((analytic * direction).sum(), rel=1e-4)


@pytest.mark.parametrize("count", [0, 3, 5])
def test_sizes_that_do_not_fit_are_refused(count):
    comm = Communicator()
    with pytest.raises(ValueError, match=f"8 numbers per class are not those of {count} sub-centers"):
        PartialFC(MemoryBank(11, 8, comm), MarginSoftmax(), CenterSGD(), comm, sub_centers=count)


def test_embeddings_have_the_size_of_a_center():
    comm = Communicator()
    head = PartialFC(MemoryBank(11, 8, comm), MarginSoftmax(), CenterSGD(), comm, sub_centers=2)
    loss, grad = head.step(mx.nd.random.normal(shape=(6, 4)), head.choose(range(6), 0), 0.1)
    assert grad.shape == (6, 4) and loss.asscalar() > 0
