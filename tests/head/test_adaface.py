"""AdaFace: its formula, its statistics, and that other losses pay nothing for them."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.head.adaface import AdaFace
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC

import reference
from helpers.problem import LOSSES, Problem, assemble, assert_close, make_margin
from helpers.shards import Shards
from reference import adaface_statistics


def target(cos_theta, z, m=0.4):
    """Value and slope for given z, by lengths that lead to them."""
    margin = AdaFace(m=m, h=1.0, t_alpha=1e-9)
    margin.load(dict(mean=50.0, std=1.0))
    margin.begin(0, mx.nd.array(50 + z * 1.001))
    return [each.asnumpy() for each in margin.target(mx.nd.array(cos_theta))]


def test_target_is_the_papers_formula():
    theta, z = (grid.ravel() for grid in np.meshgrid(np.linspace(0.5, 2.6, 40), np.linspace(-1, 1, 9)))
    value, slope = target(np.cos(theta), z)
    np.testing.assert_allclose(value, np.cos(theta - 0.4 * z) - (0.4 * z + 0.4), atol=5e-6)
    np.testing.assert_allclose(slope, np.sin(theta - 0.4 * z) / np.sin(theta), rtol=1e-4, atol=1e-5)


def test_z_of_minus_1_0_and_1_are_arcface_cosface_and_a_negative_angle():
    theta = np.linspace(0.5, 2.6, 40)
    for z, expected in ((-1, np.cos(theta + 0.4)), (0, np.cos(theta) - 0.4), (1, np.cos(theta - 0.4) - 0.8)):
        np.testing.assert_allclose(target(np.cos(theta), np.full(40, z))[0], expected, atol=5e-6)


def test_the_logit_never_falls_with_the_cosine():
    cos_theta = np.float32([-1.0000002, -1, -0.99, 0, 0.99, 1, 1.0000002])
    for z in (-1, 0, 1):
        value, slope = target(cos_theta, np.full(7, z))
        assert np.isfinite(slope).all() and (slope >= 0).all() and (np.diff(value) >= 0).all()
    assert target(cos_theta, np.full(7, 1))[1][-1] == 0  # theta - m stays at 0


def test_statistics_are_running_ones_of_clipped_lengths():
    margin, expected = AdaFace(t_alpha=0.2), reference.AdaFace(t_alpha=0.2)
    for num_update in range(20):
        norms = np.random.RandomState(num_update).uniform(1, 150, 6)
        margin.begin(num_update, mx.nd.array(norms))
        mean, std = adaface_statistics(norms, expected)
        expected = expected._replace(mean=mean, std=std)
        np.testing.assert_allclose([margin.state_dict()[name] for name in ("mean", "std")], [mean, std], rtol=1e-5)
    again = AdaFace(t_alpha=0.2)
    again.load(margin.state_dict())
    for each in (margin, again):
        each.begin(20, mx.nd.array([3.0, 5.0]))
    assert again.state_dict() == margin.state_dict()


def test_a_batch_of_one():
    margin = AdaFace(t_alpha=1.0)
    margin.begin(0, mx.nd.array([5.0]))
    assert margin.state_dict() == dict(mean=5.0, std=0.0)
    assert np.isfinite([each.asscalar() for each in margin.target(mx.nd.array([0.5]))]).all()


@pytest.mark.parametrize("num_classes", [101, 2])  # of 2 classes some ranks have none
@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_statistics_are_those_of_the_global_batch_on_every_rank(world_size, num_classes):
    problem, known = Problem(num_classes), LOSSES["adaface"]

    def work(comm):
        margin = make_margin(known)
        bank = MemoryBank(num_classes, problem.embedding_size, comm)
        batch = np.split(np.arange(30), comm.world_size)[comm.rank]
        head = PartialFC(bank, margin, CenterSGD(), comm)
        head.step(mx.nd.array(problem.embeddings[batch]), head.choose(problem.labels[batch], 0), 0.1)
        return margin.state_dict()

    first, *others = Shards(world_size).run(work)
    assert all(each == first for each in others)
    expected = adaface_statistics(np.linalg.norm(problem.embeddings.astype(float), axis=1), known)
    np.testing.assert_allclose((first["mean"], first["std"]), expected, rtol=1e-6)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
@pytest.mark.parametrize("num_update", [0, 2, 5])
def test_warm_up_of_the_whole_step(num_update, sample_ratio, world_size):
    problem, share = Problem(), min(1, num_update / 4)
    for name in ("adaface", "arcface"):
        margin = LOSSES[name]
        warmed = margin._replace(m=share * margin.m) if name == "adaface" else margin._replace(m2=share * margin.m2)

        def work(comm, margin=margin):
            return problem.step_on(comm, margin, sample_ratio, warmup=4, num_update=num_update)

        result, chosen = assemble(Shards(world_size).run(work))
        assert_close(result, problem.truth(chosen, warmed))


def test_others_send_no_lengths():
    sent = {}

    class Counting(Problem):
        def step_on(self, comm, margin):
            gather = comm.all_gather
            comm.all_gather = lambda array, name: sent.update({(margin, name): array.shape}) or gather(array, name)
            return super().step_on(comm, margin)

    for name in ("adaface", "arcface"):
        Shards(2).run(lambda comm, margin=LOSSES[name]: Counting().step_on(comm, margin))
    assert sent[LOSSES["adaface"], "embeddings"] == (15, 25) and sent[LOSSES["arcface"], "embeddings"] == (15, 24)


def test_an_embedding_without_length():
    problem = Problem()
    problem.embeddings[2] = 0
    result, _ = assemble(Shards(2).run(lambda comm: problem.step_on(comm, LOSSES["adaface"])))
    assert all(np.isfinite(field).all() for field in result) and not result.grad_embeddings[2].any()


@pytest.mark.parametrize(
    "wrong", [dict(m=0), dict(h=-1), dict(t_alpha=0), dict(t_alpha=1.5), dict(s=0), dict(warmup=-1)]
)
def test_nonsense_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AdaFace(**wrong)


@pytest.mark.parametrize(
    "state", [None, {}, "mean", [1], dict(mean=1), dict(mean="x", std=1), dict(mean=1.0, std=-1.0)]
)
def test_other_states_are_refused(state):
    with pytest.raises(ValueError, match="not the statistics of AdaFace"):
        AdaFace().load(state)
    with pytest.raises(ValueError):
        AdaFace().load(dict(mean=float("nan"), std=1.0))
