"""The head with a batch in micro-batches, on 1, 2, 3 and 5 ranks, against the dense float64 reference of the batch."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import InputError
from partial_fc.head.adaface import AdaFace
from partial_fc.head.host_bank import HostBank
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterAdamW, CenterSGD
from partial_fc.head.partial_fc import PartialFC

import reference
from helpers.cases import for_each
from helpers.problem import LOSSES, LR, Problem, assemble, assert_close, float32_bound
from helpers.shards import Shards
from reference import Step, adamw, relative_error

PARTS = 4
every_world = pytest.mark.parametrize("world_size", (1, 2, 3, 5))
every_ratio = pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
FORMULAS = sorted(set(LOSSES) - {"adaface"})


def problem_of(**sizes):
    """120 samples, which are 4 micro-batches on each of the ranks; not all classes are positive."""
    return Problem(num_classes=401, batch_size=120, **sizes)


def run(problem, world_size, margin, sample_ratio=1.0, parts=PARTS, **more):
    work = lambda comm: problem.step_on(comm, margin, sample_ratio, parts=parts, **more)  # noqa: E731
    return assemble(Shards(world_size).run(work))


@every_world
@every_ratio
def test_micro_batches_are_the_whole_batch(sample_ratio, world_size):
    for loss in FORMULAS:
        problem, margin = problem_of(), LOSSES[loss]
        result, chosen = run(problem, world_size, margin, sample_ratio)
        _, of_whole_batch = run(problem, world_size, margin, sample_ratio, parts=1)
        assert np.array_equal(chosen, of_whole_batch) and (len(chosen) == 401) == (sample_ratio == 1)
        assert_close(result, problem.truth(chosen, margin))


@every_world
def test_saturated_batch(world_size):
    for loss in FORMULAS:
        problem = problem_of().saturate()
        result, chosen = run(problem, world_size, LOSSES[loss], 0.3)
        bound = float32_bound(problem, chosen, LOSSES[loss])
        # The largest losses decide, and the reference rounds them in float32 in another order than parts of a batch.
        assert_close(result, problem.truth(chosen, LOSSES[loss]), Step(*(max(2e-5, each) for each in bound)))


def adaface_truth(problem, chosen, margin, world_size, parts):
    """Steps of the micro-batches, each with the statistics of those up to it, whose gradients are averaged."""
    ranks = np.split(np.arange(len(problem.labels)), world_size)
    lengths = np.linalg.norm(problem.embeddings.astype(np.float64), axis=1)
    seen, loss, grad_w = [], 0, 0
    grad_e = np.zeros(problem.embeddings.shape)
    for part in range(parts):
        own = np.concatenate([np.split(rank, parts)[part] for rank in ranks])
        seen.extend(own)
        mean, std = reference.adaface_statistics(lengths[seen], margin)
        fixed = margin._replace(t_alpha=0.0, mean=mean, std=std)
        arrays = problem.embeddings[own], problem.labels[own], problem.weight, problem.weight_mom
        one = reference.step(*arrays, chosen, fixed, LR)
        loss, grad_w = loss + one.loss / parts, grad_w + one.grad_weight / parts
        grad_e[own] = one.grad_embeddings / parts
    weight, mom = problem.weight.astype(np.float64), problem.weight_mom.astype(np.float64)
    mom[chosen] = 0.9 * mom[chosen] - LR * (grad_w[chosen] + 5e-4 * weight[chosen])
    weight[chosen] += mom[chosen]
    return Step(loss, grad_e, grad_w, weight, mom)


@every_world
@every_ratio
def test_adaface_has_the_lengths_of_the_micro_batches_so_far(sample_ratio, world_size):
    problem, margin = problem_of(), LOSSES["adaface"]
    result, chosen = run(problem, world_size, margin, sample_ratio)
    assert_close(result, adaface_truth(problem, chosen, margin, world_size, PARTS))
    # That differs from the whole batch, by what the running statistics move in one update.
    assert 1e-4 < relative_error(result.grad_embeddings, problem.truth(chosen, margin).grad_embeddings) < 0.2


def test_statistics_of_adaface_after_an_update_are_those_of_its_whole_batch():
    norms = np.random.RandomState(0).uniform(2, 9, 24).astype(np.float32)
    for _ in range(2):
        whole, parts = AdaFace(), AdaFace()
        for update in range(3):
            whole.begin(update, mx.nd.array(norms + update))
            for part, some in enumerate(np.split(norms + update, 4)):
                parts.begin(update, mx.nd.array(some), part)
    assert whole.state_dict() == pytest.approx(parts.state_dict(), rel=1e-6)
    expected = reference.adaface_statistics(norms, reference.AdaFace())
    first = AdaFace()
    for part, some in enumerate(np.split(norms, 3)):
        first.begin(0, mx.nd.array(some), part)
    assert list(first.state_dict().values()) == pytest.approx(expected, rel=1e-6)


@every_world
@every_ratio
def test_sub_centers(sample_ratio, world_size):
    problem, margin = problem_of(sub_centers=3), LOSSES["arcface"]
    result, chosen = run(problem, world_size, margin, sample_ratio)
    assert_close(result, problem.truth(chosen, margin))


@every_ratio
def test_margin_warm_up_counts_updates(sample_ratio):
    problem, half = problem_of(), LOSSES["arcface"]._replace(m2=0.25)
    result, chosen = run(problem, 3, LOSSES["arcface"], sample_ratio, warmup=4, num_update=2)
    assert_close(result, problem.truth(chosen, half))


@for_each("sub_centers, bound", [(1, Step(*[0.03] * 5)), (3, Step(0.01, 0.1, 0.1, 0.03, 0.03))])
def test_bfloat16_is_close_to_the_reference(sub_centers, bound):
    problem, margin = problem_of(sub_centers=sub_centers), LOSSES["arcface"]
    result, chosen = run(problem, 2, margin, 0.3, precision="bfloat16")
    assert_close(result, problem.truth(chosen, margin), bound)


def test_gradients_are_summed_in_float32():
    """Sums of bfloat16 would lose what 60 micro-batches add; whole batch and parts round the same operands."""
    problem, margin = problem_of(), LOSSES["softmax"]
    exact = problem.truth(np.arange(401), margin)
    whole, parts = (run(problem, 1, margin, parts=count, precision="bfloat16")[0] for count in (1, 60))
    errors = [relative_error(each.grad_weight, exact.grad_weight) for each in (whole, parts)]
    assert errors[1] < 1.2 * errors[0]


@every_ratio
def test_a_bank_on_the_host_has_the_same_bits(sample_ratio):
    problem, margin = problem_of(), LOSSES["arcface"]
    device, host = (run(problem, 2, margin, sample_ratio, make_bank=bank)[0] for bank in (MemoryBank, HostBank))
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(device, host))


def test_more_ranks_than_classes():
    problem, margin = Problem(3, batch_size=40), LOSSES["arcface"]
    result, chosen = run(problem, 5, margin)
    assert_close(result, problem.truth(chosen, margin), float32_bound(problem, chosen, margin))


@pytest.mark.parametrize("world_size", (1, 3))
def test_adamw_makes_one_update(world_size):
    problem, margin = problem_of(), LOSSES["arcface"]

    def updated(comm):
        bank = MemoryBank(401, problem.row_size, comm, seed=7, states=CenterAdamW.states)
        own = slice(*bank.partition)
        bank.set(bank.partition.class_start, problem.weight[own], *[np.zeros_like(problem.weight[own])] * 2)
        head = PartialFC(bank, MarginSoftmax(*margin), CenterAdamW(0.3), comm)
        batch = np.split(np.arange(len(problem.labels)), world_size)[comm.rank]
        parts = head.choose(problem.labels[batch], 0).micro_batches(PARTS)
        for part, some in zip(parts, np.split(batch, PARTS)):
            before = bank.to_numpy()[0].copy()
            head.step(mx.nd.array(problem.embeddings[some]), part, LR)
            assert np.array_equal(before, bank.to_numpy()[0]) == (part.part < PARTS - 1)
        return [array.copy() for array in bank.to_numpy()]

    results = [np.concatenate(each) for each in zip(*Shards(world_size).run(updated))]
    grad, zeros = problem.truth(np.arange(401), margin).grad_weight, np.zeros_like(problem.weight)
    for array, expected in zip(results, adamw(problem.weight, zeros, zeros, grad, LR, 0.3, 1)):
        assert relative_error(array, expected) < 1e-4


def small_head(optimizer=None):
    comm = Communicator()
    return PartialFC(MemoryBank(101, 24, comm), MarginSoftmax(), optimizer, comm)


def test_frozen_centers_stay():
    head = small_head()
    before = head.bank.weight.asnumpy()
    parts = head.choose(np.arange(8), 0).micro_batches(2)
    losses = [head.step(mx.nd.ones((4, 24)), part, 0.1)[0].asscalar() for part in parts]
    assert min(losses) > 0 and np.array_equal(before, head.bank.weight.asnumpy())


def test_deferred_centers_have_the_sum_of_the_micro_batches():
    problem, heads = problem_of(), [small_head(CenterSGD()) for _ in range(2)]
    for head, defer in zip(heads, (False, True)):
        for update in range(2):
            parts = head.choose(np.arange(8) + update, update).micro_batches(2)
            for part, some in zip(parts, np.split(problem.embeddings[:8], 2)):
                head.step(mx.nd.array(some), part, LR, defer=defer)
            if defer:
                assert head.centers_finite().asscalar() == 1
                head.update_centers(LR)
                head.update_centers(LR)  # only once
    weights = [head.bank.weight.asnumpy() for head in heads]
    assert np.array_equal(*weights)


def test_an_overflow_in_any_micro_batch_is_seen():
    head = small_head(CenterSGD())
    first, second = head.choose(np.arange(8), 0).micro_batches(2)
    head.step(mx.nd.ones((4, 24)), first, LR, defer=True)
    head._pending.grad_unit[5:6] = np.inf
    head.step(mx.nd.ones((4, 24)), second, LR, defer=True)
    assert head.centers_finite().asscalar() == 0


def test_micro_batches_come_in_order():
    head = small_head(CenterSGD())
    parts = head.choose(np.arange(12), 0).micro_batches(3)
    embeddings = mx.nd.ones((4, 24))
    with pytest.raises(InputError, match=r"micro-batch 1 of 3 of an update .*: 0 is next"):
        head.step(embeddings, parts[1], LR)
    head.step(embeddings, parts[0], LR)
    with pytest.raises(InputError, match="micro-batch 2 of 3 .*: 1 is next"):
        head.step(embeddings, parts[2], LR)
    for part in parts:  # an update may begin again
        head.step(embeddings, part, LR)


def test_a_batch_that_cannot_be_divided():
    choice = small_head().choose(np.arange(8), 0)
    with pytest.raises(InputError, match="a batch of 8 samples per rank does not consist of 3 equal micro-batches"):
        choice.micro_batches(3)
    assert choice.micro_batches(1) == [choice]
