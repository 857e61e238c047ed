"""Charts of pairs and evaluations, see `charts`: ROC curves, distributions of scores, and measured accept rates."""

from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np

from ..eval.output import Result
from ..eval.report import GROUPS
from ..eval.roc import Roc
from .charts import COLORS, Chart, Trace, axis, line, numbers
from .pairs import JudgedPairs

_EDGES = np.linspace(-1, 1, 101)  # of the bins of cosines
_RATES = "FAR %{x:.3g}<br>TAR %{y:.3%}<extra>%{fullData.name}</extra>"


def roc_chart(sets: Sequence[JudgedPairs], names: Sequence[str]) -> Iterator[Chart]:
    """The ROC curves of sets of pairs whose scores are there, each with its threshold."""
    traces: List[Trace] = []
    for number, (pairs, name) in enumerate(zip(sets, names)):
        far, tar = Roc.from_scores(pairs.scores, pairs.issame).curve()
        if len(far):
            style = {**line(name, COLORS[number % len(COLORS)]), "hovertemplate": _RATES}
            traces += [{"x": numbers(far), "y": numbers(tar), **style}, *_at_threshold(pairs, style)]
    if traces:
        yield Chart("ROC of all pairs; the points are the thresholds", {"data": traces, "layout": _rates_layout()})


def _rates_layout() -> Dict[str, Any]:
    x = axis("false accept rate", type="log", dtick=1, exponentformat="power")
    return {"xaxis": x, "yaxis": axis("true accept rate", tickformat=".1%"), "hovermode": "closest"}


def _at_threshold(pairs: JudgedPairs, curve: Trace) -> Iterator[Trace]:
    """The point of a set's threshold; on a logarithmic axis a rate of 0 has no place."""
    if pairs.threshold is None:
        return
    accepted = pairs.accepted()
    far, tar = float(accepted[~pairs.issame].mean()), float(accepted[pairs.issame].mean())
    if far:
        text = f"threshold {pairs.threshold:.4f}<br>{_RATES}"
        point = {"mode": "markers", "marker": {"color": curve["line"]["color"], "size": 11}, "showlegend": False}
        yield {"x": [far], "y": [tar], "name": curve["name"], **point, "hovertemplate": text}


def histogram_chart(pairs: JudgedPairs, name: str) -> Iterator[Chart]:
    """The shares of the pairs of the same person, and of those of different people, by cosine, and the threshold."""
    kinds = (~pairs.issame, "different people", COLORS[1]), (pairs.issame, "same person", COLORS[0])
    traces = [_bars(pairs.scores[kind], words, color) for kind, words, color in kinds if kind.any()]
    layout: Dict[str, Any] = {"barmode": "overlay", "bargap": 0, "xaxis": axis("cosine")}
    layout["yaxis"] = axis("share of the pairs", tickformat=".1%")
    title = f"Scores: {name}"
    if pairs.threshold is not None:
        title += f", threshold {pairs.threshold:.4f}"
        layout["shapes"] = [_vertical(pairs.threshold)]
    if traces:
        yield Chart(title, {"data": traces, "layout": layout})


def _bars(scores: np.ndarray, words: str, color: str) -> Trace:
    counts, _ = np.histogram(np.clip(scores, -1, 1), _EDGES)
    bars = {"x": numbers((_EDGES[1:] + _EDGES[:-1]) / 2), "y": numbers(counts / counts.sum()), "type": "bar"}
    look = {"marker": {"color": color, "line": {"width": 0}}, "opacity": 0.6}
    text = f"cosine %{{x:.2f}}: %{{y:.2%}} of the pairs<extra>{words}</extra>"
    return {**bars, **look, "name": f"{words}: {counts.sum():,} pairs", "hovertemplate": text}


def _vertical(x: float) -> Dict[str, Any]:
    dotted = {"dash": "dot", "color": "gray"}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": dotted}


def tar_charts(results: Sequence[Result]) -> Iterator[Chart]:
    """For each protocol and data set, the true accept rates that evaluations have measured at false accept rates."""
    for protocol, data in dict.fromkeys((each.protocol, each.data) for each in results):
        curves = [
            (name, rates)
            for each in results
            if (each.protocol, each.data) == (protocol, data)
            for name, rates in _measured_rates(each)
        ]
        look = {"mode": "lines+markers", "hovertemplate": _RATES}
        traces = [
            {"x": x, "y": y, **line(name, COLORS[number % len(COLORS)]), **look}
            for number, (name, (x, y)) in enumerate(curves)
        ]
        if traces:
            yield Chart(f"{protocol}: {data}", {"data": traces, "layout": _rates_layout()})


def _measured_rates(result: Result) -> Iterator[Tuple[str, Tuple[List[float], List[float]]]]:
    """For each group of a result: name, and FARs with their TARs."""
    for group, figures in (result.groups or {"": result.figures}).items():
        points = sorted((float(far), tar) for far, tar in figures.get("tar", {}).items() if tar is not None)
        if points:
            x, y = zip(*points)
            kind = f", {GROUPS[result.protocol].lower()}: {group}" if group else ""
            yield result.model + kind, (list(x), list(y))
