"""Charts of runs, as the JSON that Plotly draws: `data` and `layout`, without colors of text and background."""

import html
import math
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence

import numpy as np

from ..output.printable import escaped
from ..training.curves import grouped
from .runs import ACCURACY, RunFolder
from .scalars import Series

# The palette of Okabe and Ito without black; people with any color vision can distinguish its colors.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#b2a500")
_DASHES = "solid", "dash", "dot", "dashdot"
_LETTERS = 30, 24  # of a name in a legend: at its beginning, and at its end
_POINTS = 1000  # of a curve; a screen is not much wider

Trace = Dict[str, Any]


class Chart(NamedTuple):
    """A chart: its heading, and the figure that Plotly draws."""

    title: str
    figure: Dict[str, Any]


def run_charts(runs: Sequence[RunFolder], names: Sequence[str]) -> Iterator[Chart]:
    """Charts over the updates, each with the curves of all runs; charts without points are left out.

    Args:
        runs: to draw.
        names: of the runs.
    """
    sets = list(dict.fromkeys(name for run in runs for name in run.scalars if name.startswith(ACCURACY)))
    drawn = [(run, name, COLORS[number % len(COLORS)]) for number, (run, name) in enumerate(zip(runs, names))]
    loss = [trace for run, name, color in drawn if len(run.updates) for trace in _loss(run, name, color)]
    accuracy = [
        _curve(f"{name}, {each[len(ACCURACY) :]}", run.scalars[each], color, _DASHES[number % len(_DASHES)], "markers")
        for run, name, color in drawn
        for number, each in enumerate(sets)
        if each in run.scalars
    ]
    yield from _chart("Loss", loss, "loss")
    yield from _chart("Accuracy on verification sets", accuracy, "accuracy", tickformat=".1%")
    for title, scalar in (
        ("Images per second", "images_per_second"),
        ("Learning rate", "lr"),
        ("Norm of the gradients", "gradient_norm"),
        ("Filtered logits", "filtered"),
    ):
        curves = [_curve(name, run.scalars[scalar], color) for run, name, color in drawn if scalar in run.scalars]
        yield from _chart(title, curves, title.lower(), rangemode="tozero")


def _chart(title: str, traces: List[Trace], what: str, **more: Any) -> Iterator[Chart]:
    """A chart of `what` over the updates, if there are any traces; `more` is of the axis."""
    if traces:
        layout = {"xaxis": axis("update"), "yaxis": axis(what, **more), "hovermode": "x unified"}
        yield Chart(title, {"data": traces, "layout": layout})


def axis(what: str, **more: Any) -> Dict[str, Any]:
    """An axis of Plotly's: its title, and `more`."""
    return {"title": {"text": what, "standoff": 12}, **more}


def _loss(run: RunFolder, name: str, color: str) -> Iterator[Trace]:
    """The mean of groups of updates, and the range of their losses."""
    groups = grouped(run.updates, run.losses)
    x = groups.middle.tolist()
    if len(run.updates) > len(x):
        around = {"x": x + x[::-1], "y": numbers([*groups.largest, *groups.smallest[::-1]])}
        area = {"fill": "toself", "fillcolor": color, "opacity": 0.2, "line": {"width": 0}, "mode": "lines"}
        yield {**around, **area, "hoverinfo": "skip", "showlegend": False}
    yield {"x": x, "y": numbers(groups.mean), **line(name, color)}


def _curve(name: str, series: Series, color: str, dash: str = "solid", mode: str = "") -> Trace:
    places = np.unique(np.linspace(0, len(series.updates) - 1, min(_POINTS, len(series.updates))).round().astype(int))
    x, y = ([each[place] for place in places] for each in series)
    return {"x": x, "y": numbers(y), **line(name, color, dash), "mode": "+".join(filter(None, ("lines", mode)))}


def line(name: str, color: str, dash: str = "solid") -> Trace:
    """What the traces of named lines have in common."""
    return {"name": label(name), "line": {"color": color, "dash": dash}, "mode": "lines", "showlegend": True}


def label(name: str) -> str:
    """A name as Plotly shows it literally, since it takes HTML for markup; a long one without its middle."""
    text = escaped(name)
    if sum(_LETTERS) < len(text):
        text = f"{text[: _LETTERS[0]]}…{text[-_LETTERS[1] :]}"
    return html.escape(text, quote=False)


def numbers(values: Iterable[float]) -> List[Any]:
    """Values for JSON, in seven digits; None for those that are not finite, which leave a gap."""
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values]
