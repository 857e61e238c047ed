"""Confidence intervals of true accept rates at a false accept rate.

Two things are uncertain: the threshold, which rests on the few impostor pairs above it, and the share of the genuine
pairs above it. Of n impostor pairs, the number above the threshold of the true FAR x is binomial (n, x),
whatever the scores' distribution (David and Nagaraja, Order Statistics, 7.1). The share of the genuine pairs above it,
k of m, has Jeffreys' distribution, Beta (k + 1/2, m - k + 1/2) (Brown, Cai and DasGupta, Interval Estimation for a
Binomial Proportion, 2001). A bootstrap of the pairs gives nearly the same, but would sort millions of scores many
times, and finds no uncertainty where all genuine pairs are accepted; Wilson's interval takes the threshold as known.
"""

from typing import Dict, NamedTuple, Optional, Sequence

import numpy as np

from ..randomness import generator
from .roc import Roc, far_name

LEVEL = 0.95
_DRAWS = 20000


class Interval(NamedTuple):
    """Ends of an interval that holds a true accept rate with the probability LEVEL."""

    low: float
    high: float


def tar_interval(roc: Roc, far: float) -> Optional[Interval]:
    """Interval of the TAR at a FAR, as if all pairs were independent; it holds `roc.at_far(far).tar`.

    Returns:
        Interval, the same at each call; None where `at_far` is None.

    Raises:
        InputError: `far` is not in (0, 1].
    """
    point = roc.at_far(far)
    if point is None:
        return None
    random = generator(0, "interval")
    genuine = roc.accepted(random.binomial(roc.num_impostor, far, _DRAWS))
    rates = random.beta(genuine + 0.5, roc.num_genuine - genuine + 0.5)
    low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(min(float(low), point.tar), max(float(high), point.tar))


def interval_figures(roc: Roc, fars: Sequence[float]) -> Dict[str, Dict[str, Optional[float]]]:
    """`low` and `high` of the intervals by `far_name`, None where there are too few pairs, see `roc.tar_figures`."""
    found = {far_name(far): tar_interval(roc, far) for far in fars}
    return {name: each._asdict() if each else {"low": None, "high": None} for name, each in found.items()}
