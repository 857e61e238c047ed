"""What is measured of scores: true accept rates at given false accept rates, the curve, the distributions."""

import logging

import numpy as np

from ..output import Curve, Histogram, far_name
from ..roc import STEP

log = logging.getLogger("partial_fc")

_BINS_IN_ONE = 512  # of ScoreCounts in one of a histogram


def tar_figures(roc, fars, name):
    """Dictionary from `far_name` to the TAR of a Roc, None where the pairs do not allow to tell it; why not is logged.

    Args:
        roc: Roc.
        fars: false accept rates.
        name: of what was measured, for the log.
    """
    points = {far: roc.at_far(far) for far in fars}
    untold = [far for far, point in points.items() if point is None]
    if untold:
        log.info("%s: no TAR at FAR %s: %s", name, ", ".join(map(far_name, untold)), roc.why_not(max(untold)))
    return {far_name(far): point and point.tar for far, point in points.items()}


def roc_curve(roc):
    """`output.Curve` of a Roc."""
    return Curve(*roc.curve())


def score_histogram(genuine, impostor):
    """`output.Histogram` of two ScoreCounts, over bins of 1/128."""
    edges = np.append(genuine.edges[::_BINS_IN_ONE], genuine.edges[-1] + STEP)
    return Histogram(edges, *(each.counts.reshape(-1, _BINS_IN_ONE).sum(axis=1) for each in (genuine, impostor)))
