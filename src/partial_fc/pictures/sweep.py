"""The picture of a sweep: throughput and memory over one quantity."""

from typing import Mapping, Sequence, Tuple

from matplotlib.figure import Figure

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
        panel.set(xscale="log", yscale="log", xlabel=label, title=title)
        panel.grid(alpha=0.3, which="both")
    panels[1].axhline(capacity, color="gray", linestyle=":", label="of the card")
    panels[1].legend(fontsize=8)
    figure.supxlabel(assumptions, fontsize=8, color="dimgray")
    figure.savefig(path, format="png")
