"""Pictures of results: ROC curves over the logarithm of the false accept rate, and distributions of scores."""

import numpy as np
from matplotlib.figure import Figure

from ..files import atomic_path

# More points of a curve than a picture of this width has room for.
_POINTS = 2000
_LOWEST_FAR = 1e-8


def draw_roc(path, results):
    """Write a PNG with the curves of all results.

    Args:
        path: of the PNG.
        results: list of output.Result.

    Raises:
        OSError: if it cannot be written.
    """
    figure = Figure(figsize=(7, 5), dpi=120, layout="constrained")
    panel = figure.subplots()
    lowest = 1.0
    for name, curve in _named(results, "curves"):
        far, tar = _thinned(curve)
        if len(far):
            lowest = min(lowest, far[0])
            panel.step(far, tar, where="post", label=name)
    panel.set_xscale("log")
    panel.set_xlim(max(lowest, _LOWEST_FAR) / 2 if lowest < 1 else 1e-6, 1)
    panel.set_ylim(top=1.005)
    panel.set_xlabel("false accept rate")
    panel.set_ylabel("true accept rate")
    panel.grid(alpha=0.3, which="both")
    if panel.get_legend_handles_labels()[0]:
        panel.legend(loc="lower right")
    _save(figure, path)


def draw_histograms(path, results):
    """Write a PNG with the scores of the pairs of same and of different people, a panel for each result.

    Args, raises: as `draw_roc`.
    """
    named = list(_named(results, "histograms"))
    figure = Figure(figsize=(7, 1 + 2.2 * max(len(named), 1)), dpi=120, layout="constrained")
    panels = figure.subplots(max(len(named), 1), sharex=True, squeeze=False)[:, 0]
    for panel, (name, histogram) in zip(panels, named):
        for counts, label in ((histogram.different, "different people"), (histogram.same, "same person")):
            total = counts.sum()
            if total:
                density = counts / total / np.diff(histogram.edges)
                panel.stairs(density, histogram.edges, fill=True, alpha=0.5, label=f"{label}, {total} pairs")
        panel.set_title(name)
        panel.set_ylabel("density")
        panel.set_yticks([])
        panel.legend(loc="upper right")
    panels[-1].set_xlabel("cosine similarity")
    _save(figure, path)


def _named(results, attribute):
    """(name for the legend, curve or histogram) of all results; the data set is named where there are several."""
    several_sets = len({result.data for result in results}) > 1
    for result in results:
        for inner, thing in getattr(result, attribute).items():
            yield ", ".join(filter(None, (result.model, result.data if several_sets else "", inner))), thing


def _thinned(curve):
    """`far`, `tar` of a curve where FAR is above 0, at most `_POINTS` of them, equally far apart on a log axis."""
    far, tar = (np.asarray(values, np.float64) for values in curve)
    far, tar = far[far > 0], tar[far > 0]
    if len(far) <= _POINTS:
        return far, tar
    # The last point at or below each mark: no mark is drawn better than it is.
    marks = np.geomspace(far[0], far[-1], _POINTS)
    places = np.unique(np.searchsorted(far, marks, side="right") - 1)
    return far[places], tar[places]


def _save(figure, path):
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")
