"""Filtering of conflicting negatives and the sampling correction, on 1, 2, 3 and 5 ranks against dense float64."""

import functools

import mxnet as mx
import numpy as np
import pytest

from partial_fc.distributed.communicator import Communicator
from partial_fc.head import block_softmax
from partial_fc.head.host_bank import HostBank
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.negatives import EXCLUDED, NegativeLogits, Negatives
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.head.workspace import Workspace

from helpers.cases import for_each
from helpers.problem import LOSSES, LR, Problem, assemble, assert_close, float32_bound
from helpers.shards import Shards
from reference import Margin, Step, relative_error

every_world = pytest.mark.parametrize("world_size", (1, 2, 3, 5))
every_mode = pytest.mark.parametrize("mode", ["exact", "zero"])
# Without a zero column; with it; and with a scale at which an exponential of 0 counts beside the others.
SCALES = {"s=100": Margin(100.0, m3=0.1), "s=32": Margin(32.0, m2=0.5), "s=3": Margin(3.0, m3=0.1)}


MARGINS = {**LOSSES, **SCALES}


def run(problem, world_size, margin, sample_ratio=1.0, **more):
    return assemble(Shards(world_size).run(lambda comm: problem.step_on(comm, margin, sample_ratio, **more)))


def bits(step):
    return [field.tobytes() for field in step]


def counts(problem, world_size, margin, sample_ratio, precision="float32", parts=1):
    """What each rank's head reports after an update of some micro-batches."""

    def work(comm):
        bank = MemoryBank(problem.num_classes, problem.row_size, comm, sample_ratio, seed=7)
        own = slice(*bank.partition)
        bank.set(bank.partition.class_start, problem.weight[own], problem.weight_mom[own])
        arguments = CenterSGD(), comm, precision, problem.sub_centers, problem.negatives
        head = PartialFC(bank, MarginSoftmax(*margin), *arguments)
        assert head.num_filtered is None
        batch = np.split(np.arange(len(problem.labels)), world_size)[comm.rank]
        for _ in range(2 if parts > 1 else 1):  # the second update counts from 0
            choice = head.choose(problem.labels[batch], 0)
            bank.set(bank.partition.class_start, problem.weight[own], problem.weight_mom[own])
            for part, some in zip(choice.micro_batches(parts), np.split(batch, parts)):
                head.step(mx.nd.array(problem.embeddings[some]), part, LR)
        return head.num_filtered.asscalar()

    return Shards(world_size).run(work)


@every_world
@every_mode
@pytest.mark.parametrize("loss", ["adaface", "arcface", *SCALES])
@for_each("sample_ratio, sub_centers", [(1.0, 1), (0.3, 1), (1.0, 3), (0.3, 3)])
def test_filtering_equals_the_reference(loss, mode, world_size, sample_ratio, sub_centers):
    problem, margin = Problem(sub_centers=sub_centers, negatives=Negatives(0.4, mode)), MARGINS[loss]
    result, chosen = run(problem, world_size, margin, sample_ratio)
    assert (len(chosen) == 101) == (sample_ratio == 1) and problem.num_filtered(chosen) > 15
    assert_close(result, problem.truth(chosen, margin))


@every_world
@every_mode
@for_each("name, sample_ratio, sub_centers", [(n, r, k) for n in SCALES for r in (1.0, 0.3) for k in (1, 3)])
def test_number_of_filtered_logits(mode, world_size, name, sample_ratio, sub_centers):
    problem, margin = Problem(sub_centers=sub_centers, negatives=Negatives(0.4, mode)), SCALES[name]
    _, chosen = run(problem, world_size, margin, sample_ratio)
    assert counts(problem, world_size, margin, sample_ratio) == [problem.num_filtered(chosen)] * world_size


def test_ranks_without_classes_filter_none():
    problem = positive(Problem(3, negatives=Negatives(1e-3)))
    assert counts(problem, 5, Margin(64.0), 1.0) == [2 * len(problem.labels)] * 5


def test_own_classes_are_never_filtered():
    problem = Problem(negatives=Negatives(0.4)).saturate()  # cosines to the own class near 1
    (own,) = counts(problem, 1, Margin(64.0), 1.0)
    cosines, one_hot = problem.cosines(np.arange(101))
    assert own == (cosines > 0.4).sum() - len(problem.labels) and (cosines[one_hot] > 0.9).all()
    result, chosen = run(problem, 3, LOSSES["cosface"])
    assert_close(result, problem.truth(chosen, LOSSES["cosface"]), float32_bound(problem, chosen, LOSSES["cosface"]))


@every_mode
@pytest.mark.parametrize("world_size", (1, 3))
@for_each("name, bank", [(name, bank) for name in SCALES for bank in (MemoryBank, HostBank)])
def test_blocks_of_rows(monkeypatch, mode, world_size, name, bank):
    monkeypatch.setattr(block_softmax, "BLOCK", 7 * 40)
    problem = Problem(negatives=Negatives(0.4, mode, sampling_correction=True))
    for sample_ratio in (1.0, 0.3):
        result, chosen = run(problem, world_size, SCALES[name], sample_ratio, make_bank=bank)
        assert_close(result, problem.truth(chosen, SCALES[name], world_size=world_size))
        filtered = counts(problem, world_size, SCALES[name], sample_ratio)
        assert filtered == [problem.num_filtered(chosen)] * world_size


@pytest.mark.parametrize("world_size", (1, 2, 3))
@every_mode
@for_each("sample_ratio, sub_centers", [(1.0, 1), (0.3, 1), (1.0, 3), (0.3, 3)])
def test_bfloat16_is_close_to_the_reference(mode, world_size, sample_ratio, sub_centers):
    problem, margin = Problem(sub_centers=sub_centers), LOSSES["arcface"]
    threshold = problem.threshold_in_a_gap(0.35, 0.6)
    problem.negatives = Negatives(threshold, mode, sampling_correction=True)
    result, chosen = run(problem, world_size, margin, sample_ratio, precision="bfloat16")
    bound = Step(0.01, 0.1, 0.1, 0.03, 0.03) if sub_centers > 1 else Step(0.01, 0.03, 0.03, 0.03, 0.03)
    assert_close(result, problem.truth(chosen, margin, world_size=world_size), bound)
    assert set(counts(problem, world_size, margin, sample_ratio, "bfloat16")) == {problem.num_filtered(chosen)}
    assert problem.num_filtered(chosen) > 0


def positive(problem):
    """All cosines above 0."""
    problem.embeddings, problem.weight = np.abs(problem.embeddings), np.abs(problem.weight)
    return problem


@every_mode
@for_each(
    "name, num_classes, world_size, precision",
    [(name, *case) for name in SCALES for case in [(101, 1, "float32"), (101, 3, "bfloat16"), (3, 5, "float32")]],
)
def test_all_are_filtered(mode, name, num_classes, world_size, precision):
    """Exactly nothing is left beside the target, on ranks without classes, too; zeros are left in the other mode."""
    problem = positive(Problem(num_classes, negatives=Negatives(1e-3, mode)))
    result, chosen = run(problem, world_size, SCALES[name], precision=precision)
    assert all(np.isfinite(field).all() for field in result)
    truth = problem.truth(chosen, SCALES[name])
    assert relative_error(result.weight, truth.weight) < 1e-5
    if mode == "exact":
        assert result.loss == truth.loss == 0 and not result.grad_embeddings.any() and not result.grad_weight.any()
    else:
        assert result.loss == pytest.approx(truth.loss, rel=0.01, abs=1e-12)


def test_difference_of_the_modes_is_one_per_filtered_logit_in_the_denominator():
    """One sample, whose other classes are all filtered: nothing or n exp(0) beside the target."""
    cos, n, s = 0.1, 5, 10.0
    weight = np.zeros((1 + n, 3), np.float32)
    weight[0], weight[1:] = (cos, np.sqrt(1 - cos**2), 0), (0.8, 0, 0.6)
    losses, grads = {}, {}
    for mode in ("exact", "zero"):
        comm = Communicator()
        bank = MemoryBank(1 + n, 3, comm)
        bank.set(0, weight, 0 * weight)
        head = PartialFC(bank, MarginSoftmax(s), CenterSGD(), comm, negatives=Negatives(0.4, mode))
        loss, grad = head.step(mx.nd.array([[1.0, 0.0, 0.0]]), head.choose([0], 0), LR)
        losses[mode], grads[mode] = loss.asscalar(), grad.asnumpy()[0]
    assert losses["exact"] == 0 and not grads["exact"].any()
    assert losses["zero"] == pytest.approx(np.log1p(n * np.exp(-s * cos)), rel=1e-5)
    share = n / (n + np.exp(s * cos))  # the gradient is the target's alone
    assert grads["zero"] == pytest.approx([0, -s * share * np.sqrt(1 - cos**2), 0], rel=1e-5, abs=1e-6)


def test_above_all_cosines_the_bits_are_those_without_filtering():
    for sample_ratio in (1.0, 0.3):
        plain, _ = run(Problem(), 3, LOSSES["arcface"], sample_ratio)
        for mode in ("exact", "zero"):
            high, _ = run(Problem(negatives=Negatives(1.0, mode)), 3, LOSSES["arcface"], sample_ratio)
            assert bits(high) == bits(plain)


def test_without_filtering_nothing_more_is_exchanged_or_kept():
    def sizes(negatives):
        comm = Shards(1)

        def work(comm):
            gathered, gather = [], comm.all_gather
            comm.all_gather = lambda array, name: gathered.append((name, array.shape)) or gather(array, name)
            head = PartialFC(MemoryBank(11, 8, comm), MarginSoftmax(), CenterSGD(), comm, negatives=negatives)
            head.step(mx.nd.ones((6, 8)), head.choose(range(6), 0), LR)
            return gathered, "filtered" in head._workspace._memory

        return comm.run(work)[0]

    assert sizes(None) == ([("embeddings", (6, 8)), ("lse_target", (2, 6))], False)
    assert sizes(Negatives(0.4)) == ([("embeddings", (6, 8)), ("lse_target", (3, 6))], True)


@every_mode
def test_nan_stays_nan(mode):
    logits = mx.nd.array([[1.0, np.nan, 30.0]])
    assert NegativeLogits(Negatives(0.4, mode), 64.0, Workspace(mx.cpu())).filter(logits).shape == (1,)
    assert logits.asnumpy()[0].tolist() == pytest.approx([1, np.nan, EXCLUDED if mode == "exact" else 0], nan_ok=True)


@every_world
@pytest.mark.parametrize("loss", MARGINS)
@for_each("sample_ratio, sub_centers", [(0.3, 1), (0.7, 1), (0.3, 3)])
def test_correction_equals_the_reference(loss, world_size, sample_ratio, sub_centers):
    problem = Problem(sub_centers=sub_centers, negatives=Negatives(sampling_correction=True))
    result, chosen = run(problem, world_size, MARGINS[loss], sample_ratio)
    truth = problem.truth(chosen, MARGINS[loss], world_size=world_size)
    assert_close(result, truth)
    problem.negatives = Negatives()
    assert relative_error(problem.truth(chosen, MARGINS[loss]).loss, truth.loss) > 1e-3


@every_world
@every_mode
@for_each("name, sub_centers", [(name, count) for name in SCALES for count in (1, 3)])
def test_correction_and_filtering_together(mode, world_size, name, sub_centers):
    problem = Problem(sub_centers=sub_centers, negatives=Negatives(0.3, mode, sampling_correction=True))
    result, chosen = run(problem, world_size, SCALES[name], 0.3)
    assert_close(result, problem.truth(chosen, SCALES[name], world_size=world_size))


def test_nothing_to_correct():
    """All centers of a rank take part, or none but those of the batch."""
    for sample_ratio, batch_size in ((1.0, 30), (0.01, 90)):
        plain, chosen = run(Problem(batch_size=batch_size), 3, LOSSES["arcface"], sample_ratio)
        problem = Problem(batch_size=batch_size, negatives=Negatives(sampling_correction=True))
        assert bits(run(problem, 3, LOSSES["arcface"], sample_ratio)[0]) == bits(plain)
    assert len(chosen) < 101


@pytest.mark.parametrize("world_size", (1, 3))
def test_corrected_denominator_is_that_of_all_classes_on_average(world_size):
    """Of one class of samples: exp(loss) - 1 is the others' sum divided by the target's exponential."""
    problem, margin, updates = Problem(batch_size=3), MarginSoftmax(4.0), 60
    problem.labels[:] = 17
    problem.embeddings[:] = problem.embeddings[0]

    def sums(comm, sample_ratio, negatives):
        bank = MemoryBank(101, 24, comm, sample_ratio, seed=7)
        bank.set(
            bank.partition.class_start, problem.weight[slice(*bank.partition)], np.zeros((bank.num_local, 24), "f")
        )
        head = PartialFC(bank, margin, None, comm, negatives=negatives)
        batch = np.split(np.arange(3), world_size)[comm.rank]
        embeddings, labels = mx.nd.array(problem.embeddings[batch]), problem.labels[batch]
        losses = [head.step(embeddings, head.choose(labels, n), 0)[0].asscalar() for n in range(updates)]
        return np.expm1(np.array(losses, float))

    exact = Shards(world_size).run(lambda comm: sums(comm, 1.0, None))[0][0]
    corrected, plain = (
        Shards(world_size).run(functools.partial(sums, sample_ratio=0.3, negatives=negatives))[0] / exact
        for negatives in (Negatives(sampling_correction=True), None)
    )
    error = corrected.std() / np.sqrt(updates)
    assert error < 0.05 and abs(corrected.mean() - 1) < 4 * error and plain.mean() < 0.5


@pytest.mark.parametrize(
    "wrong", [dict(filtering=-0.1), dict(filtering=1.1), dict(filtering=float("nan")), dict(mode="none")]
)
def test_other_values_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Negatives(**wrong)


@every_world
@every_mode
@pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
def test_micro_batches_are_the_whole_batch(sample_ratio, mode, world_size):
    """The sampling rate is that of the update, whose positives are those of all micro-batches."""
    problem = Problem(num_classes=401, batch_size=120, negatives=Negatives(0.3, mode, True))
    result, chosen = run(problem, world_size, LOSSES["arcface"], sample_ratio, parts=4)
    assert_close(result, problem.truth(chosen, LOSSES["arcface"], world_size=world_size))
    filtered = counts(problem, world_size, LOSSES["arcface"], sample_ratio, parts=4)
    assert filtered == [problem.num_filtered(chosen)] * world_size and filtered[0] > 15
