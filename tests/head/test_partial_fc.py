"""The head on 1, 2, 3 and 5 ranks against the dense float64 reference."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError, InputError
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC

from helpers.problem import LOSSES, Problem, assemble, assert_close, float32_bound
from helpers.shards import Shards
from reference import Margin, relative_error

every_world = pytest.mark.parametrize("world_size", (1, 2, 3, 5))
every_loss = pytest.mark.parametrize("loss", sorted(LOSSES))


def run(problem, world_size, margin, sample_ratio=1.0):
    return assemble(Shards(world_size).run(lambda comm: problem.step_on(comm, margin, sample_ratio)))


@every_world
@pytest.mark.parametrize("sample_ratio", [1.0, 0.3, 0.7])
@every_loss
def test_step_equals_the_reference(loss, sample_ratio, world_size):
    problem, margin = Problem(), LOSSES[loss]
    result, chosen = run(problem, world_size, margin, sample_ratio)
    assert (len(chosen) == 101) == (sample_ratio == 1)
    assert_close(result, problem.truth(chosen, margin))


@every_world
@pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
@every_loss
def test_saturated_batch(loss, sample_ratio, world_size):
    problem, margin = Problem().saturate(), LOSSES[loss]
    result, chosen = run(problem, world_size, margin, sample_ratio)
    assert_close(result, problem.truth(chosen, margin), float32_bound(problem, chosen, margin))


def test_saturated_batch_keeps_digits_that_dense_float32_loses():
    problem, margin = Problem().saturate(), LOSSES["softmax"]
    result, chosen = run(problem, 3, margin)
    truth, dense = problem.truth(chosen, margin), problem.truth(chosen, margin, np.float32)
    assert truth.loss < 1e-12 and dense.loss == 0
    assert relative_error(result.loss, truth.loss) < 1e-3
    assert relative_error(result.grad_embeddings, truth.grad_embeddings) < 1e-4
    assert relative_error(dense.grad_embeddings, truth.grad_embeddings) > 1e-2


@every_world
@every_loss
def test_cosines_of_plus_and_minus_one(loss, world_size):
    problem, margin = Problem(), LOSSES[loss]
    problem.embeddings[:8] = problem.weight[problem.labels[:8]] * 3
    problem.embeddings[8:16] = problem.weight[problem.labels[8:16]] * -2  # theta + m2 past pi
    result, chosen = run(problem, world_size, margin)
    assert all(np.isfinite(field).all() for field in result)
    truth = problem.truth(chosen, margin)
    assert relative_error(result.loss, truth.loss) <= 1e-5
    assert relative_error(result.weight, truth.weight) <= 1e-5


@every_world
def test_spread_of_logits_of_600(world_size):
    # Cosines of 1 and -1 at s = 300: on most ranks every probability underflows.
    problem, margin = Problem(), Margin(300.0, m3=0.1)
    problem.weight[50] = -problem.weight[3]
    problem.labels[5], problem.labels[6] = 50, 3
    problem.embeddings[5] = problem.embeddings[6] = problem.weight[3] * 4
    result, chosen = run(problem, world_size, margin)
    assert result.loss > 600 / len(problem.labels)
    assert_close(result, problem.truth(chosen, margin), float32_bound(problem, chosen, margin))


@every_world
def test_more_positives_than_the_share_drops_none(world_size):
    problem, margin = Problem(batch_size=90), LOSSES["arcface"]
    result, chosen = run(problem, world_size, margin, sample_ratio=0.01)
    assert set(problem.labels) <= set(chosen)
    assert_close(result, problem.truth(chosen, margin))


@pytest.mark.parametrize("num_classes, world_size", [(3, 5), (1, 1), (2, 2), (5, 5)])
def test_few_classes(num_classes, world_size):
    problem, margin = Problem(num_classes), LOSSES["arcface"]
    result, chosen = run(problem, world_size, margin)
    assert list(chosen) == list(range(num_classes))
    truth = problem.truth(chosen, margin)
    if num_classes == 1:  # nothing to tell apart: no loss, no gradient
        assert result.loss == truth.loss == 0 and not result.grad_embeddings.any()
    else:
        assert_close(result, truth, float32_bound(problem, chosen, margin))


@every_world
def test_centers_that_are_not_chosen_stay(world_size):
    problem = Problem()
    result, chosen = run(problem, world_size, LOSSES["arcface"], sample_ratio=0.3)
    others = np.setdiff1d(np.arange(problem.num_classes), chosen)
    assert len(others) > 30
    assert np.array_equal(result.weight[others], problem.weight[others])
    assert np.array_equal(result.weight_mom[others], problem.weight_mom[others])


def test_zero_embedding_and_zero_center_have_no_direction():
    problem = Problem()
    problem.embeddings[2] = 0
    problem.weight[7] = 0
    result, _ = run(problem, 2, LOSSES["cosface"])
    assert all(np.isfinite(field).all() for field in result)
    assert not result.grad_embeddings[2].any() and not result.grad_weight[7].any()


def small_head(comm):
    return PartialFC(MemoryBank(101, 24, comm), MarginSoftmax(), CenterSGD(), comm)


@pytest.mark.parametrize("world_size", (1, 3))
@pytest.mark.parametrize("label", [-1, 101, 2**40, 2**24 + 1])
def test_label_out_of_range_is_an_error_on_every_rank(world_size, label):
    labels = np.arange(30)
    labels[4] = label

    def work(comm):
        batch = np.split(np.arange(30), world_size)[comm.rank]
        with pytest.raises(CollectiveError, match=rf"record 1004 has label {label}, outside \[0, 101\)"):
            small_head(comm).choose(labels[batch], 0, records=batch + 1000)
        return True

    assert all(Shards(world_size).run(work))


@pytest.mark.parametrize("wrong", [[1, 2.5, 3, 4], [1, float("nan"), 3, 4], [[1, 2], [3, 4]], []])
def test_labels_that_are_none_on_one_rank_are_an_error_on_all(wrong):
    def work(comm):
        head = small_head(comm)
        head.choose(np.arange(4), 0)
        with pytest.raises(CollectiveError, match="rank 1: "):
            head.choose(wrong if comm.rank == 1 else np.arange(4), 1)
        return head.choose(np.arange(4), 2).columns.size

    assert Shards(3).run(work) == [12] * 3


def test_batches_may_change_their_size_on_all_ranks_but_not_on_one():
    def work(comm):
        head = small_head(comm)
        sizes = [head.choose(np.arange(size), 0, requests=1).columns.size for size in (4, 4, 3, 5)]
        with pytest.raises(CollectiveError, match="^rank 2 has a batch of 4 samples, rank 0 of 5: "):
            head.choose(np.arange(4 if comm.rank == 2 else 5), 0)
        return sizes

    assert Shards(3).run(work) == [[12, 12, 9, 15]] * 3


@pytest.mark.parametrize(
    "embeddings, reported",
    [
        (np.zeros((8, 24), np.float32), r"must be float32 \(4, 24\) on cpu\(0\).* not float32 \(8, 24\)"),
        (np.zeros((4, 23), np.float32), r"not float32 \(4, 23\)"),
        (np.zeros((4, 24), np.float16), "not float16"),
    ],
)
def test_embeddings_that_do_not_belong_to_the_choice(embeddings, reported):
    head = small_head(Communicator())
    choice = head.choose(np.arange(4), 0)
    with pytest.raises(InputError, match=reported):
        head.step(mx.nd.array(embeddings, dtype=embeddings.dtype), choice, 0.1)


def test_rank_without_a_batch_stops_all():
    def work(comm):
        head = small_head(comm)
        with pytest.raises(CollectiveError, match="rank 1: train.rec: record 7 cannot be read") as caught:
            if comm.rank == 1:
                head.fail("train.rec: record 7 cannot be read", 75)
            head.choose(np.arange(4), 0)
        assert caught.value.status == 75
        return True

    assert all(Shards(3).run(work))


def test_requests_of_all_ranks_travel_with_the_labels():
    def choose(comm):
        problem = Problem()
        bank = MemoryBank(problem.num_classes, problem.embedding_size, comm, 0.3)
        labels = np.split(problem.labels, comm.world_size)[comm.rank]
        choice = PartialFC(bank, MarginSoftmax(), CenterSGD(), comm).choose(labels, 0, requests=(0, 2, 5)[comm.rank])
        return choice.requests, len(choice.columns)

    assert Shards(3).run(choose) == [(7, len(Problem().labels))] * 3
