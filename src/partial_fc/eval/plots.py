"""Pictures of results: ROC curves over the logarithm of the false accept rate, and distributions of scores."""

from typing import Any, Iterator, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..pictures.labels import Labels, name_lines
from ..pictures.sheet import save_png
from .output import Result
from .roc import Histogram

_COLUMNS = 80  # of text below or above a panel
_LINE = 0.17  # inches
_STYLES = ("-", "--", ":", "-.")  # another one after every ten curves, since there are ten colors


def draw_roc(path: str, results: Sequence[Result]) -> None:
    """Write a PNG with the curves of all results, and their names below.

    Raises:
        OSError: if it cannot be written.
    """
    named = list(_named(results, "curves"))
    labels = Labels.of(name for name, _ in named)
    num_lines = sum(labels.text(name, _COLUMNS).count("\n") + 1 for name, _ in named)
    figure = Figure(figsize=(7, 5 + _LINE * num_lines), dpi=120, layout="constrained")
    panel = figure.subplots()
    for number, (name, (far, tar)) in enumerate(named):
        panel.step(far, tar, _STYLES[number // 10 % len(_STYLES)], where="post", label=name)
    panel.set_xscale("log")
    panel.set_xlim(right=1)
    panel.set_ylim(top=1.005)
    panel.set_xlabel("false accept rate")
    panel.set_ylabel("true accept rate")
    panel.grid(alpha=0.3, which="both")
    if named:
        legend = figure.legend(panel.lines, ["."] * len(named), loc="outside lower left", fontsize=8, frameon=False)
        name_lines(legend, [name for name, _ in named], _COLUMNS)
    save_png(figure, path)


def draw_histograms(path: str, results: Sequence[Result]) -> None:
    """Write a PNG with the scores of the pairs of same and of different people, a panel per result.

    Raises:
        OSError: if it cannot be written.
    """
    named = list(_named(results, "histograms"))
    labels = Labels.of(name for name, _ in named)
    num_lines = sum(labels.text(name, _COLUMNS).count("\n") for name, _ in named)
    height = 1 + 2.2 * max(len(named), 1) + _LINE * num_lines
    figure = Figure(figsize=(9, height), dpi=120, layout="constrained")
    panels = figure.subplots(max(len(named), 1), sharex=True, squeeze=False)[:, 0]
    for panel, (name, histogram) in zip(panels, named):
        labels.apply(panel.set_title("", loc="left", fontsize=10), name, _COLUMNS)
        _draw_histogram(panel, histogram)
    panels[-1].set_xlabel("cosine similarity")
    save_png(figure, path)


def _draw_histogram(panel: Axes, histogram: Histogram) -> None:
    for counts, label in ((histogram.different, "different people"), (histogram.same, "same person")):
        total = counts.sum()
        if total:
            density = counts / total / np.diff(histogram.edges)
            panel.stairs(density, histogram.edges, fill=True, alpha=0.5, label=f"{label}, {total:,} pairs")
    panel.set_ylabel("density")
    panel.set_yticks([])
    if panel.patches:
        panel.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)


def _named(results: Sequence[Result], attribute: str) -> Iterator[Tuple[str, Any]]:
    """(name, curve or histogram) of all results; the name includes the data set if there are several."""
    several_sets = len({result.data for result in results}) > 1
    for result in results:
        for inner, thing in getattr(result, attribute).items():
            yield ", ".join(filter(None, (result.model, result.data if several_sets else "", inner))), thing
