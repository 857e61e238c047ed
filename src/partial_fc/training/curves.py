"""The picture of a run: loss and accuracy over the updates."""

from typing import Dict, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..files import atomic_path
from ..pictures.labels import name_lines

# Long runs are drawn as this many groups of updates: the picture is not wide enough for more points.
_GROUPS = 400
_NAME_COLUMNS = 24


def draw_curves(
    path: str, losses_path: str, history: Sequence[Tuple[int, Dict[str, float]]], lr_steps: Sequence[int]
) -> None:
    """Write a PNG of the loss (mean, and range from the smallest to the largest) and of the verification accuracy.

    Args:
        path: of the PNG.
        losses_path: `losses.csv` of LossLog.
        history: list of (num_update, {name: accuracy}).
        lr_steps: updates at which the learning rate falls, drawn as dotted lines.

    Raises:
        OSError: if it cannot be written.
    """
    names = list(history[-1][1])
    figure = Figure(figsize=(8, 6 if names else 3.2), dpi=100, layout="constrained")
    panels = figure.subplots(2 if names else 1, sharex=True, squeeze=False)[:, 0]
    max_update = _draw_loss(panels[0], losses_path)
    for name in names:
        measured = [(num_update, accuracies[name]) for num_update, accuracies in history if name in accuracies]
        panels[1].plot(*zip(*measured), "o-", label=name)
    if names:
        panels[1].set_ylabel("verification accuracy")
        beside = dict(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
        name_lines(panels[1].legend(panels[1].lines, ["."] * len(names), **beside), names, _NAME_COLUMNS)
    for panel in panels:
        panel.grid(alpha=0.3)
        for step in lr_steps:
            if step < max_update:
                panel.axvline(step, color="gray", linestyle=":")
    panels[-1].set_xlabel("update")
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")


def _draw_loss(panel: Axes, losses_path: str) -> float:
    """Draw the loss; returns the last update."""
    num_updates, losses = np.genfromtxt(losses_path, delimiter=",", skip_header=1).reshape(-1, 2).T
    groups = np.array_split(losses, min(_GROUPS, len(losses)))
    middle = [group.mean() for group in np.array_split(num_updates, len(groups))]
    panel.fill_between(middle, [group.min() for group in groups], [group.max() for group in groups], alpha=0.25)
    panel.plot(middle, [group.mean() for group in groups])
    panel.set_ylabel("loss")
    return num_updates[-1]
