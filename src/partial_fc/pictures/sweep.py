"""The picture of a sweep: throughput and memory over one quantity."""

import textwrap
from typing import Mapping, Sequence, Tuple

from matplotlib.figure import Figure

_COLUMNS = 130  # of the text below the picture

Line = Sequence[Tuple[float, float]]


def draw_sweep(
    path: str, label: str, rates: Mapping[str, Line], memory: Mapping[str, Line], capacity: float, assumptions: str
) -> None:
    """Write a PNG.

    Args:
        path: of the PNG.
        label: of the quantity.
        rates: points (value, images per second) by the name of the line.
        memory: points (value, GiB per card), likewise.
        capacity: GiB of a card, drawn as a dotted line.
        assumptions: text below the picture.

    Raises:
        OSError: if it cannot be written.
    """
    figure = Figure(figsize=(9, 4), dpi=100, layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, lines, title in zip(panels, (rates, memory), ("images per second", "memory per card, GiB")):
        for number, (name, points) in enumerate(lines.items()):
            if points:
                panel.plot(*zip(*points), "o-", markersize=4, linewidth=3 - number, label=name)
        panel.set(xscale="log", xlabel=label, title=title)
        ticks = sorted({value for points in memory.values() for value, _ in points})
        panel.set_xticks(ticks, [_short(value) for value in ticks])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_yscale("log")
    panels[0].yaxis.set_major_formatter(lambda value, _: _short(value))
    panels[0].yaxis.set_minor_formatter(lambda value, _: _short(value) if f"{value:e}"[0] in "25" else "")
    most = max(size for points in memory.values() for _, size in points)
    panels[1].axhline(capacity, color="gray", linestyle=":", label=f"of the card: {capacity:.0f}")
    panels[1].set_ylim(0, 1.1 * max(most, capacity))
    panels[1].legend(fontsize=8)
    figure.supxlabel("\n".join(map(_wrapped, assumptions.split("\n"))), fontsize=8, color="dimgray")
    figure.savefig(path, format="png")


def _wrapped(line: str) -> str:
    return textwrap.fill(line, _COLUMNS)


def _short(value: float) -> str:
    """A number as people say it: 0.1, 64, 20k, 5M."""
    for size, unit in ((10**6, "M"), (10**4, "k")):
        if value >= size:
            return f"{value / (10**6 if unit == 'M' else 1000):g}{unit}"
    return f"{value:g}"
