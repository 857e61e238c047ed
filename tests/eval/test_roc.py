import logging
import math

import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.eval.roc import (
    FARS,
    STEP,
    Roc,
    ScoreCounts,
    far_name,
    histogram_of_counts,
    roc_of_counts,
    tar_figures,
    threshold_figures,
)


def slow_tar(scores, issame, far):
    """Every threshold is tried."""
    best = 0.0
    for threshold in [*scores, math.inf]:
        accepted = scores >= threshold
        if np.mean(accepted[~issame]) <= far:
            best = max(best, np.mean(accepted[issame]))
    return best


def slow_auc(scores, issame):
    differences = scores[issame][:, None] - scores[~issame][None]
    return np.mean((differences > 0) + 0.5 * (differences == 0))


def random_scores(seed, num_pairs, levels):
    """Scores in [-1, 1] of so many different values, and which are genuine."""
    random = np.random.RandomState(seed)
    issame = random.rand(num_pairs) < 0.4
    scores = np.clip(random.randn(num_pairs) * 0.3 + 0.4 * issame, -1, 1)
    return (np.round(scores * levels) / levels).astype(np.float32), issame


@pytest.mark.parametrize("levels", [2, 20, 10**6])
def test_equals_trying_every_threshold(levels):
    for seed in range(5):
        scores, issame = random_scores(seed, 200, levels)
        roc = Roc.from_scores(scores, issame)
        assert roc.auc() == pytest.approx(slow_auc(scores, issame), abs=1e-12)
        for far in (0.01, 0.05, 0.1, 0.5, 1.0):
            point = roc.at_far(far)
            assert point.tar == slow_tar(scores, issame, far)
            accepted = scores >= point.threshold
            assert (accepted[issame].mean(), accepted[~issame].mean()) == point[1:]


def test_equal_scores_are_accepted_together():
    """Of three impostors at 0.5 one may be accepted, so none is, and neither are the genuine pairs at 0.5."""
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.1])
    issame = np.array([True, True, False, False, False, True])
    assert Roc.from_scores(scores, issame).at_far(0.4) == (0.9, 1 / 3, 0)
    far, tar = Roc.from_scores(scores[1:], issame[1:]).curve()
    assert far.tolist() == [1 / 3, 2 / 3, 1] and tar.tolist() == [0, 0, 1]
    nothing = Roc.from_scores(np.zeros(20), np.arange(20) < 10)
    assert nothing.at_far(0.9) == (math.inf, 0, 0) and nothing.at_far(1.0) == (0, 1, 1) and nothing.auc() == 0.5


def test_decimals_are_meant():
    """0.29 of 100 impostors are 29, though the product in float64 is 28.999999999999996."""
    roc = Roc.from_scores(np.arange(101.0), np.arange(101) == 71)
    assert roc.at_far(0.29).tar == 1 and roc.at_far(0.28).tar == 0 and roc.at_far(0.28).far == 0.28


def test_too_few_impostors_are_reported():
    roc = Roc.from_scores(np.arange(1001.0), np.arange(1001) == 1000)
    assert roc.at_far(1e-3) == (999, 1, 1e-3) and roc.why_not(1e-3) is None
    assert roc.at_far(9.9e-4) is None
    assert roc.why_not(1e-6) == "FAR 1e-6 needs 1,000,000 impostor pairs, there are 1,000"


def test_sets_of_one_kind():
    for issame in (np.ones(5, bool), np.zeros(5, bool), np.zeros(0, bool)):
        roc = Roc.from_scores(np.arange(float(len(issame))), issame)
        assert roc.auc() is None and roc.at_far(0.1) is None and len(roc.curve()[0]) == 0
    assert roc.why_not(0.1) == "no genuine pairs"


def test_known_distributions():
    """Scores of impostors uniform in (0, 1), of genuine pairs with the density 2s: TAR = 1 - (1 - FAR)^2, AUC 2/3."""
    uniform = (np.arange(10**6) + 0.5) / 10**6
    scores = np.concatenate([uniform, np.sqrt(uniform)])
    roc = Roc.from_scores(scores, np.arange(2 * 10**6) >= 10**6)
    assert roc.auc() == pytest.approx(2 / 3, abs=1e-6)
    for far in FARS:
        assert roc.at_far(far).tar == pytest.approx(1 - (1 - far) ** 2, abs=2e-6)
    far, tar = roc.curve()
    np.testing.assert_allclose(tar, 1 - (1 - far) ** 2, atol=2e-6)
    assert far[0] == 1e-6 and far[-1] == tar[-1] == 1 and len(far) <= 500 and (np.diff(far) > 0).all()


@pytest.mark.parametrize(
    "scores, issame, message",
    [
        ([0, math.nan, 1], [True] * 3, "pair 1 is nan"),
        ([0, 1, math.inf], [True] * 3, "pair 2 is inf"),
        ([0, 1], [True] * 3, "shape"),
        ([[0, 1]], [[True, True]], "shape"),
    ],
)
def test_bad_scores_are_refused(scores, issame, message):
    with pytest.raises(InputError, match=message):
        Roc.from_scores(np.array(scores, float), issame)
    with pytest.raises(InputError, match="not in"):
        Roc.from_scores(np.arange(2.0), [True, False]).at_far(0)


def test_counts_are_those_of_numpy():
    """On every edge, and between; 2^24 + 1 equal scores, more than float32 can count."""
    scores = np.concatenate([np.arange(-1, 1 + STEP, STEP / 2), np.random.RandomState(0).uniform(-1, 1, 10**5)])
    scores = scores.astype(np.float32)
    expected = np.histogram(scores.astype(np.float64), np.append(ScoreCounts.edges, 1 + 2.0**-8 - STEP / 2))[0]
    counts = ScoreCounts.of(scores.reshape(1, -1))
    assert counts.counts.dtype == np.int64 and counts.total == len(scores)
    np.testing.assert_array_equal(counts.counts, expected)
    assert ScoreCounts.of(np.full(2**24 + 1, 0.25, np.float32)).counts.max() == 2**24 + 1
    assert not (counts + counts - counts - counts).counts.any()


def test_counts_give_the_roc_to_their_step():
    """The curve is that of scores rounded down to edges, and never above that of the scores themselves."""
    scores, issame = random_scores(3, 5000, 1024)
    for fine in (scores, scores + np.random.RandomState(1).uniform(-1e-4, 0, 5000).astype(np.float32)):
        roc = roc_of_counts(ScoreCounts.of(fine[issame]), ScoreCounts.of(fine[~issame]))
        rounded = Roc.from_scores((np.floor(fine.astype(float) / STEP + 0.5) - 0.5) * STEP, issame)
        assert roc.auc() == rounded.auc()
        for far in (1e-3, 1e-2, 1e-1):
            assert roc.at_far(far) == rounded.at_far(far)
            assert roc.at_far(far).tar <= Roc.from_scores(fine, issame).at_far(far).tar


def test_equal_cosines_that_are_rounded_differently_stay_together():
    for cosine in (1, 0, -1):
        near = np.nextafter(np.float32(cosine), np.float32([-2, 2]))
        assert np.count_nonzero(ScoreCounts.of(np.append(near, np.float32(cosine))).counts) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1.01, -1.01])
def test_what_is_no_cosine_is_not_counted(bad):
    with pytest.raises(InputError, match="1 scores are not"):
        ScoreCounts.of(np.array([0, bad, 1]))


def test_tar_figures_tell_why_not(caplog):
    caplog.set_level(logging.INFO, logger="partial_fc")
    roc = Roc.from_scores(np.arange(1100.0), np.arange(1100) >= 1000)
    assert tar_figures(roc, (1e-2, 1e-3, 1e-4, 1e-6), "model") == {"1e-2": 1.0, "1e-3": 1.0, "1e-4": None, "1e-6": None}
    (message,) = caplog.messages
    assert message == "model: no TAR at FAR 1e-4, 1e-6: FAR 1e-4 needs 10,000 impostor pairs, there are 1,000"
    caplog.clear()
    assert tar_figures(roc, (1e-1,), "model") == {"1e-1": 1.0} and not caplog.messages
    far, tar = roc.curve()
    assert len(far) == len(tar) and tar[-1] == 1


def test_threshold_figures_have_no_threshold_that_accepts_nothing():
    """At FAR 0.1 two of 20 impostors may be accepted, but three share the highest score."""
    scores = np.concatenate([np.full(3, 5.0), np.arange(17) / 10, np.arange(4.0)])
    roc = Roc.from_scores(scores, np.arange(24) >= 20)
    assert threshold_figures(roc, (0.01, 0.1, 0.2)) == {"1e-2": None, "1e-1": None, "2e-1": 1.6}
    assert tar_figures(roc, (0.1, 0.2), "m") == {"1e-1": 0, "2e-1": 0.5}


def test_histograms_count_every_score_where_it_is():
    scores = np.random.RandomState(0).uniform(-1, 1, 10**4).astype(np.float32)
    edges, same, different = histogram_of_counts(ScoreCounts.of(scores[:100]), ScoreCounts.of(scores[100:]))
    assert len(edges) == len(same) + 1 and np.allclose(np.diff(edges), 1 / 128, rtol=1e-9)
    np.testing.assert_array_equal(same, np.histogram(scores[:100].astype(float), edges)[0])
    np.testing.assert_array_equal(different, np.histogram(scores[100:].astype(float), edges)[0])


@pytest.mark.parametrize("far, name", [(1e-6, "1e-6"), (0.0001, "1e-4"), (0.1, "1e-1"), (0.0025, "2.5e-3")])
def test_names_of_false_accept_rates(far, name):
    assert far_name(far) == name
