"""The head with products in low precision against the dense float64 reference, and ranks against one rank."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.distributed.communicator import Communicator
from partial_fc.head import partial_fc as partial_fc_file
from partial_fc.head import products
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.negatives import Negatives
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.head.products import Products

from helpers.problem import LOSSES, Problem, assemble, assert_close
from helpers.shards import Shards
from reference import Margin, Step, relative_error

every_world = pytest.mark.parametrize("world_size", (1, 2, 3))
every_loss = pytest.mark.parametrize("loss", sorted(LOSSES))
# Of loss, both gradients, centers and momentum.
BOUND = Step(0.01, 0.03, 0.03, 0.03, 0.03)


def run(problem, world_size, margin, sample_ratio=1.0, precision="bfloat16"):
    return assemble(
        Shards(world_size).run(lambda comm: problem.step_on(comm, margin, sample_ratio, precision=precision))
    )


@every_world
@pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
@pytest.mark.parametrize("sizes", [(101, 30, 24), (1007, 42, 65)], ids=str)
@every_loss
def test_bfloat16_is_close_to_the_reference(loss, sizes, sample_ratio, world_size):
    problem, margin = Problem(*sizes), LOSSES[loss]
    result, chosen = run(problem, world_size, margin, sample_ratio)
    assert_close(result, problem.truth(chosen, margin), BOUND)


@every_world
def test_scale_above_that_of_the_zero_column(world_size):
    problem, margin = Problem(), Margin(100.0, m3=0.1)
    result, chosen = run(problem, world_size, margin)
    assert_close(result, problem.truth(chosen, margin), BOUND)


@pytest.mark.parametrize("world_size", (2, 3))
@every_loss
def test_ranks_agree_with_one_rank_as_orders_of_summation_do(loss, world_size):
    """Two orders of a float32 sum are rounded to different bfloat16 numbers once in ten thousand times, and then they
    are 1/256 apart: 5e-5 of the centers' gradient in all.

    The embeddings' gradient is a sum over the ranks of sums that were rounded to bfloat16, up to 1/512 off: 1.5e-3.
    """
    problem, margin = Problem(1007, 42, 65), LOSSES[loss]
    one, _ = run(problem, 1, margin)
    many, _ = run(problem, world_size, margin)
    assert relative_error(many.loss, one.loss) < 1e-5
    assert relative_error(many.grad_weight, one.grad_weight) < 1e-4
    assert relative_error(many.weight, one.weight) < 1e-5
    assert relative_error(many.grad_embeddings, one.grad_embeddings) < 1 / 512


def test_target_logits_are_those_of_float32():
    # The only other logit is 0 in any precision.
    problem, margin = Problem(2, 6, 12), Margin(64.0, m3=0.1)
    problem.weight[:] = 0
    problem.weight[0, :4], problem.weight[1, 4:8] = (1, 1.1, 0.9, 1.2), 1
    problem.labels[:] = 0
    problem.embeddings[:, :4], problem.embeddings[:, 4:8] = (0.1, 0.11, 0.12, 0.13), 0
    result, chosen = run(problem, 1, margin)
    assert relative_error(result.loss, problem.truth(chosen, margin).loss) < 1e-5


class Rounded(Products):
    """Products of float16 as a GPU has them, computed in float32 and rounded to float16."""

    def __init__(self, precision, workspace):
        super().__init__("bfloat16", workspace)
        assert precision == "float16"
        self.gain, self._dtype = products._FLOAT16_GAIN, "float16"

    def logits(self, embeddings, weight):
        return mx.nd.dot(embeddings.astype("float32"), weight.astype("float32"), transpose_b=True).astype("float16")

    def gradients(self, grad_logits, embeddings, weight):
        grad_logits, embeddings, weight = (each.astype("float32") for each in (grad_logits, embeddings, weight))
        grads = mx.nd.dot(grad_logits, weight), mx.nd.dot(grad_logits, embeddings, transpose_a=True)
        return tuple(grad.astype("float16") for grad in grads)


@pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
@every_loss
def test_float16_neither_underflows_nor_overflows(loss, sample_ratio, monkeypatch):
    monkeypatch.setattr(partial_fc_file, "Products", Rounded)
    for problem in (Problem(), Problem(40000, 30, 24)):  # most probabilities are below float16's smallest number
        result, chosen = run(problem, 2, LOSSES[loss], sample_ratio, "float16")
        assert_close(result, problem.truth(chosen, LOSSES[loss]), Step(0.002, 0.005, 0.005, 0.005, 0.005))


def all_wrong(batch_size, embedding_size):
    """Samples of one direction, all of which are surely taken for class 0."""
    problem = Problem(101, batch_size, embedding_size)
    problem.embeddings[:], problem.labels[:] = problem.weight[0], 1 + np.arange(batch_size) % 100
    return problem


def all_on_one_axis(batch_size):
    problem = all_wrong(batch_size, 24)
    problem.weight[0] = problem.embeddings[:] = np.eye(24)[3]
    return problem


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(
    "problem",
    [all_wrong(1024, 24), all_wrong(1024, 512), all_on_one_axis(1024), all_on_one_axis(8192)],
    ids=["24", "512", "axis", "8192"],
)
def test_sums_over_the_batch_fit_into_float16(problem, parts, monkeypatch):
    monkeypatch.setattr(partial_fc_file, "Products", Rounded)
    margin = LOSSES["cosface"]
    of_ranks = Shards(2).run(lambda comm: problem.step_on(comm, margin, precision="float16", parts=parts))
    result, chosen = assemble(of_ranks)
    assert_close(result, problem.truth(chosen, margin), Step(0.002, 0.005, 0.005, 0.005, 0.005))


@pytest.mark.parametrize("parts", [1, 2])
def test_small_gradients_of_samples_that_are_sure_stay_in_float16(parts, monkeypatch):
    """The sum of the probabilities of all other classes is 1e-8: such factors of the embeddings would be 0."""
    monkeypatch.setattr(partial_fc_file, "Products", Rounded)
    problem, margin = Problem(101, 32, 24).saturate(), LOSSES["softmax"]
    of_ranks = Shards(2).run(lambda comm: problem.step_on(comm, margin, precision="float16", parts=parts))
    result, chosen = assemble(of_ranks)
    # The logits are rounded by up to 1 / 64, and such a share of the loss depends on each.
    truth = problem.truth(chosen, margin)
    assert truth.loss < 1e-6
    assert_close(result, truth, Step(0.02, 0.02, 0.02, 0.02, 0.02))


@pytest.mark.parametrize("mode", ["exact", "zero"])
def test_float16_holds_what_is_filtered_and_corrected(mode, monkeypatch):
    """Few of the classes are sampled: a factor of 500 on a probability near 1 would overflow."""
    monkeypatch.setattr(partial_fc_file, "Products", Rounded)
    problem, margin = Problem(20000, 30, 24), LOSSES["cosface"]
    problem.negatives = Negatives(problem.threshold_in_a_gap(0.6, 0.8), mode, sampling_correction=True)
    result, chosen = run(problem, 2, margin, 0.002, "float16")
    assert_close(result, problem.truth(chosen, margin, world_size=2), Step(0.002, 0.005, 0.005, 0.005, 0.005))


@pytest.mark.parametrize("precision, said", [("float16", "needs a GPU"), ("half", "float32, bfloat16, float16")])
def test_precision_that_is_not_to_be_used(precision, said):
    with pytest.raises(ValueError, match=said):
        PartialFC(MemoryBank(11, 8, Communicator()), MarginSoftmax(), CenterSGD(), Communicator(), precision)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
def test_deferred_update_is_the_same_update_or_none(sample_ratio, precision):
    def step(defer, value=None):
        bank = MemoryBank(5000, 300, Communicator(), sample_ratio)  # two blocks and more
        head = PartialFC(bank, MarginSoftmax(m3=0.2), CenterSGD(), Communicator(), precision)
        embeddings = mx.nd.array(np.random.RandomState(0).randn(8, 300))
        before = bank.weight.asnumpy()
        head.step(embeddings, head.choose(range(8), 0), 0.1, defer)
        if value is not None:
            head._pending.grad_unit[-2:-1] = mx.nd.full((1, 300), value).astype(head._pending.grad_unit.dtype)
        finite = head.centers_finite().asscalar()
        unchanged = np.array_equal(before, bank.weight.asnumpy())
        head.update_centers(0.1)
        return bank.weight.asnumpy(), finite, unchanged

    now, _, unchanged = step(False)
    assert not unchanged
    later, finite, unchanged = step(True)
    assert unchanged and finite == 1 and np.array_equal(now, later)
    if precision == "float32":
        assert [step(True, value)[1] for value in (np.inf, -np.inf, np.nan)] == [0, 0, 0]
