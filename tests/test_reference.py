"""The reference itself: its gradients are the slopes of its loss."""

import numpy as np
import pytest

from helpers.problem import LOSSES, Problem
from reference import Filtering, Margin, step


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("name, gradient", [("embeddings", "grad_embeddings"), ("weight", "grad_weight")])
def test_gradients_are_slopes_of_the_loss(loss, name, gradient):
    problem, chosen = Problem(20, 8, 5), np.arange(20)
    arrays = {"embeddings": problem.embeddings.astype(float), "weight": problem.weight.astype(float)}

    norms = np.linalg.norm(arrays["embeddings"], axis=1)

    def evaluate():
        fixed = dict(norms=norms, labels=problem.labels, weight_mom=problem.weight_mom, chosen=chosen)
        return step(margin=LOSSES[loss], lr=1, **fixed, **arrays)

    analytic = getattr(evaluate(), gradient)
    random = np.random.RandomState(2)
    for _ in range(5):
        direction = random.randn(*arrays[name].shape)
        start, h = arrays[name], 1e-6
        arrays[name] = start + h * direction
        above = evaluate().loss
        arrays[name] = start - h * direction
        below = evaluate().loss
        arrays[name] = start
        assert (above - below) / (2 * h) == pytest.approx((analytic * direction).sum(), rel=1e-5)


@pytest.mark.parametrize("zero", [False, True])
def test_filtered_logits_are_constants(zero):
    """With corrections, too; the threshold is far from all cosines."""
    problem, chosen = Problem(20, 8, 5), np.arange(20)
    cosines = np.sort(problem.cosines(chosen)[0].ravel())
    threshold = cosines[-20:-1][np.diff(cosines[-20:]).argmax()] + 1e-3
    fixed = dict(labels=problem.labels, weight_mom=problem.weight_mom, chosen=chosen, margin=Margin(3.0), lr=1)
    fixed.update(filtering=Filtering(threshold, zero), corrections=np.linspace(0, 2, 20))

    def loss(change):
        return step(problem.embeddings + change, weight=problem.weight, **fixed)

    direction = np.random.RandomState(2).randn(8, 5)
    slope = (loss(1e-6 * direction).loss - loss(-1e-6 * direction).loss) / 2e-6
    assert slope == pytest.approx((loss(0).grad_embeddings * direction).sum(), rel=1e-5)


def test_only_chosen_classes_enter():
    problem = Problem()
    chosen = np.union1d(problem.labels, np.arange(0, 101, 3))
    reduced = problem.truth(chosen, LOSSES["arcface"])
    problem.weight[np.setdiff1d(np.arange(101), chosen)] *= 100
    assert problem.truth(chosen, LOSSES["arcface"]).loss == reduced.loss
