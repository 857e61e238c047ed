"""What is told of scores: true accept rates at given false accept rates, the curve, the distributions."""

import logging

import numpy as np

from .output import Curve, Histogram, far_name

log = logging.getLogger("partial_fc")

_BINS_IN_ONE = 256  # of ScoreCounts in one of a histogram


def tar_figures(roc, fars, name):
    """Dictionary from `far_name` to the TAR of a Roc, None where it cannot be told; why not goes to the log.

    Args:
        roc: Roc.
        fars: false accept rates.
        name: of what was measured, for the log.
    """
    tars = {}
    for far in fars:
        point = roc.at_far(far)
        if point is None:
            log.info("%s: no TAR at FAR %s: %s", name, far_name(far), roc.why_not(far))
        tars[far_name(far)] = None if point is None else point.tar
    return tars


def roc_curve(roc):
    """`output.Curve` of a Roc."""
    return Curve(*roc.curve())


def score_histogram(genuine, impostor):
    """`output.Histogram` of two ScoreCounts, over bins of 1/256."""
    edges = np.append(genuine.edges[::_BINS_IN_ONE], -genuine.edges[0])
    return Histogram(edges, *(each.counts.reshape(-1, _BINS_IN_ONE).sum(axis=1) for each in (genuine, impostor)))
