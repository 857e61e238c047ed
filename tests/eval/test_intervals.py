"""Intervals of true accept rates: how often they hold the true rate, and beside a bootstrap of the pairs."""

from statistics import NormalDist

import numpy as np
import pytest

from partial_fc.eval.intervals import interval_figures, tar_interval
from partial_fc.eval.roc import Roc, tar_figures


def drawn(random, num_genuine, num_impostor, distance=2.5):
    """Scores of genuine pairs around `distance`, of impostor pairs around 0, both of deviation 1; and issame."""
    scores = np.append(random.randn(num_genuine) + distance, random.randn(num_impostor))
    return scores, np.arange(len(scores)) < num_genuine


def true_tar(far, distance=2.5):
    normal = NormalDist()
    return 1 - normal.cdf(normal.inv_cdf(1 - far) - distance)


def bootstrap(random, scores, issame, far, rounds=1000):
    """Ends of the interval of the TARs of sets that are drawn from the pairs with replacement."""
    tars = []
    for _ in range(rounds):
        same = random.choice(scores[issame], issame.sum())
        different = random.choice(scores[~issame], (~issame).sum())
        beyond = np.sort(different)[::-1][int(far * len(different))]  # the first that may not be accepted
        tars.append(np.mean(same > beyond))
    return np.quantile(tars, [0.025, 0.975])


@pytest.mark.parametrize("far, num_impostor", [(1e-2, 300), (1e-2, 2000), (0.1, 200)])
def test_intervals_hold_the_true_rate_in_95_of_100_sets(far, num_impostor):
    random, held = np.random.RandomState(0), 0
    for _ in range(400):
        low, high = tar_interval(Roc.from_scores(*drawn(random, 300, num_impostor)), far)
        held += low <= true_tar(far) <= high
    assert 0.92 < held / 400 < 0.98


def wilson(share, count, z=1.96):
    center = (share + z * z / 2 / count) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / 4 / count**2) / (1 + z * z / count)
    return center - half, center + half


def test_an_interval_of_the_share_alone_would_be_far_too_narrow():
    """The figures of docs/evaluation.md: 3,000 pairs of each kind, FAR 1e-3."""
    random, far, true = np.random.RandomState(0), 1e-3, true_tar(1e-3, 4)
    held = {"both": 0, "share": 0}
    for _ in range(300):
        roc = Roc.from_scores(*drawn(random, 3000, 3000, 4))
        for name, (low, high) in (("both", tar_interval(roc, far)), ("share", wilson(roc.at_far(far).tar, 3000))):
            held[name] += low <= true <= high
    assert 0.92 < held["both"] / 300 < 0.96 and round(held["share"] / 300, 2) == 0.23


@pytest.mark.parametrize("far", [0.01, 0.1])
def test_intervals_are_those_of_a_bootstrap(far):
    random = np.random.RandomState(1)
    scores, issame = drawn(random, 2000, 3000)
    found = tar_interval(Roc.from_scores(scores, issame), far)
    np.testing.assert_allclose(found, bootstrap(random, scores, issame, far), atol=0.02)


def test_where_the_threshold_is_known_it_is_the_interval_of_a_share():
    """Wilson's interval of 900 of 1000: (0.8799, 0.9171). Every impostor pair scores below every genuine one or 0.9."""
    scores = np.concatenate([np.full(900, 1.0), np.full(100, -1.0), np.linspace(-0.5, 0.5, 10**6)])
    found = tar_interval(Roc.from_scores(scores, np.arange(len(scores)) < 1000), 0.5)
    np.testing.assert_allclose(found, (0.8799, 0.9171), atol=0.001)


def test_few_impostors_widen_an_interval():
    """Three of 3,000 are above the threshold at FAR 1e-3: Wilson's interval would be 0.03 wide."""
    scores, issame = drawn(np.random.RandomState(2), 3000, 3000)
    roc = Roc.from_scores(scores, issame)
    widths = {far: high - low for far in (1e-3, 1e-2, 1e-1) for low, high in [tar_interval(roc, far)]}
    assert widths[1e-3] > 0.2 > widths[1e-2] > 0.1 > widths[1e-1]


def test_all_accepted_or_none():
    scores = np.append(np.ones(50), np.zeros(1000))
    low, high = tar_interval(Roc.from_scores(scores, np.arange(1050) < 50), 1e-2)
    assert 0.92 < low < 0.97 and high == 1
    low, high = tar_interval(Roc.from_scores(-scores, np.arange(1050) < 50), 1e-2)
    assert low == 0 and 0.03 < high < 0.08


def test_figures_have_both_ends_and_are_the_same_each_time():
    roc = Roc.from_scores(*drawn(np.random.RandomState(3), 100, 200))
    found = interval_figures(roc, (1e-3, 1e-2, 1e-1))
    assert list(found) == ["1e-3", "1e-2", "1e-1"] and found["1e-3"] == {"low": None, "high": None}
    assert found == interval_figures(roc, (1e-3, 1e-2, 1e-1))
    for far, tar in tar_figures(roc, (1e-2, 1e-1), "m").items():
        assert found[far]["low"] < tar < found[far]["high"]
    assert tar_interval(Roc.from_scores(np.arange(50.0), np.zeros(50, bool)), 0.1) is None
