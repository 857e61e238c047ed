import os
import re
import textwrap

import mxnet as mx
import numpy as np
import pytest

from partial_fc.head.margin_softmax import MarginSoftmax

from helpers.paths import ROOT

MARGINS = {"arcface": (64, 1, 0.5, 0), "cosface": (64, 1, 0, 0.4), "softmax": (64, 1, 0, 0)}
MARGINS.update(combined=(64, 1, 0.3, 0.2), sphere=(64, 0.9, 0.3, 0.1))


def target(margin, cos_theta):
    values = MarginSoftmax(*margin).target(mx.nd.array(cos_theta))
    return [value.asnumpy() for value in values]


@pytest.mark.parametrize("margin", MARGINS.values(), ids=MARGINS)
def test_target_is_the_papers_formula(margin):
    _, m1, m2, m3 = margin
    theta = np.linspace(0.05, np.pi - m2 - 0.05, 50)
    margined, slope = target(margin, np.cos(theta))
    np.testing.assert_allclose(margined, np.cos(m1 * theta + m2) - m3, atol=2e-6)
    h = 1e-6
    truth = (np.cos(m1 * (theta + h) + m2) - np.cos(m1 * (theta - h) + m2)) / (np.cos(theta + h) - np.cos(theta - h))
    np.testing.assert_allclose(slope, truth, rtol=2e-4)


def test_arcface_keeps_falling_past_pi():
    theta = np.linspace(0, np.pi, 500)
    margined, slope = target(MARGINS["arcface"], np.cos(theta))
    assert (np.diff(margined) < 1e-6).all()
    past = theta > np.pi - 0.5 + 1e-2
    np.testing.assert_allclose(margined[past], np.cos(theta[past]) - 0.5 * np.sin(0.5), atol=1e-6)
    assert (slope[past] == 1).all()


@pytest.mark.parametrize("margin", MARGINS.values(), ids=MARGINS)
def test_rounding_beyond_one_is_finite(margin):
    margined, slope = target(margin, np.float32([1.0000002, 1, -1, -1.0000002, 0.99999994]))
    assert np.isfinite(margined).all() and np.isfinite(slope).all()


@pytest.mark.parametrize("margin", [*MARGINS.values(), (64, 0.1, 0.3, 0)])
def test_margins_grow_linearly_in_the_warm_up(margin):
    s, m1, m2, m3 = margin
    cos_theta, warming = mx.nd.array(np.cos(np.linspace(0.05, 3.1, 50))), MarginSoftmax(*margin, warmup=7)
    for num_update in range(10):
        warming.begin(num_update)
        share = min(1, num_update / 7)
        now = MarginSoftmax(s, 1 + share * (m1 - 1), share * m2, share * m3)
        for value, expected in zip(warming.target(cos_theta), now.target(cos_theta)):
            np.testing.assert_allclose(value.asnumpy(), expected.asnumpy(), rtol=1e-5, atol=1e-6)
        if num_update in (0, 7, 9):  # none, and the whole
            exact = (MarginSoftmax() if num_update == 0 else MarginSoftmax(*margin)).target(cos_theta)
            assert all(
                map(np.array_equal, map(mx.nd.NDArray.asnumpy, warming.target(cos_theta)), [e.asnumpy() for e in exact])
            )


def test_the_example_of_contributing_is_a_margin():
    with open(os.path.join(ROOT, "CONTRIBUTING.md"), encoding="utf-8") as file:
        code = re.search(r"```python\n(.*?class SphereFaceR.*?)```", file.read(), re.S)[1]
    names = {}
    exec(textwrap.dedent(code), names)
    theta, h = np.linspace(0.05, np.pi - 0.05, 50), 1e-3
    value, slope = (each.asnumpy() for each in names["SphereFaceR"]().target(mx.nd.array(np.cos(theta))))
    np.testing.assert_allclose(value, np.cos(np.minimum(1.4 * theta, np.pi)), atol=2e-6)
    smooth = theta < np.pi / 1.4 - h
    expected = 1.4 * np.sin(1.4 * theta) / np.sin(theta)
    np.testing.assert_allclose(slope[smooth], expected[smooth], rtol=1e-3)
    assert np.abs(slope[~smooth]).max() < 1e-2


def test_what_has_no_state_ignores_that_of_another_loss():
    margin = MarginSoftmax()
    margin.load(dict(mean=20.0, std=3.0))
    assert margin.state_dict() == {}


@pytest.mark.parametrize(
    "wrong", [dict(s=0), dict(s=float("nan")), dict(m1=-1), dict(m2=-0.1), dict(m3=float("inf")), dict(warmup=-1)]
)
def test_nonsense_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MarginSoftmax(**wrong)
