"""Pictures of results: ROC curves over the logarithm of the false accept rate, and distributions of scores."""

import numpy as np
from matplotlib.figure import Figure

from ..files import atomic_path


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
    for name, (far, tar) in _named(results, "curves"):
        panel.step(far, tar, where="post", label=name)
    panel.set_xscale("log")
    panel.set_xlim(right=1)
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
                panel.stairs(density, histogram.edges, fill=True, alpha=0.5, label=f"{label}, {total:,} pairs")
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


def _save(figure, path):
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")
