"""The picture of a run: loss, accuracy and learning rate over the updates."""

from typing import Callable, Dict, Optional, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..files import atomic_path
from ..pictures.labels import name_lines

# Long runs are drawn as this many groups of updates: the picture is not wide enough for more points.
_GROUPS = 400
_POINTS = 4000  # of the learning rate, which has steps
_NAME_COLUMNS = 24


def draw_curves(
    path: str,
    losses_path: str,
    history: Sequence[Tuple[int, Dict[str, float]]],
    learning_rate: Callable[[int], float],
    best_update: Optional[int] = None,
) -> None:
    """Write a PNG of the loss (mean, and range from smallest to largest), verification accuracy and learning rate.

    Args:
        path: of the PNG.
        losses_path: `losses.csv` of LossLog.
        history: list of (num_update, {name: accuracy}).
        learning_rate: of an update, counted from 0.
        best_update: of the best model that is kept, drawn as a dotted line; None for none.

    Raises:
        OSError: if it cannot be written.
    """
    names = list(history[-1][1])
    heights = [2.8, 2.8, 1.2] if names else [2.8, 1.2]
    figure = Figure(figsize=(8, sum(heights)), dpi=100, layout="constrained")
    panels = figure.subplots(len(heights), sharex=True, gridspec_kw=dict(height_ratios=heights))
    max_update = _draw_loss(panels[0], losses_path)
    _draw_learning_rate(panels[-1], learning_rate, max_update)
    for name in names:
        measured = [(num_update, accuracies[name]) for num_update, accuracies in history if name in accuracies]
        panels[1].plot(*zip(*measured), "o-", label=name)
    if names:
        panels[1].set_ylabel("verification accuracy")
        beside = dict(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
        name_lines(panels[1].legend(panels[1].lines, ["."] * len(names), **beside), names, _NAME_COLUMNS)
    for panel in panels:
        panel.grid(alpha=0.3)
        if best_update is not None:
            panel.axvline(best_update, color="gray", linestyle=":")
    panels[-1].set_xlabel("update")
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")


def _draw_learning_rate(panel: Axes, learning_rate: Callable[[int], float], max_update: int) -> None:
    updates = np.unique(np.linspace(1, max_update, _POINTS).astype(int))
    panel.plot(updates, [learning_rate(update - 1) for update in updates], drawstyle="steps-pre", color="C2")
    panel.set_ylabel("learning rate")
    panel.set_ylim(bottom=0)


def _draw_loss(panel: Axes, losses_path: str) -> int:
    """Draw the loss; returns the last update."""
    num_updates, losses = np.genfromtxt(losses_path, delimiter=",", skip_header=1).reshape(-1, 2).T
    groups = np.array_split(losses, min(_GROUPS, len(losses)))
    middle = [group.mean() for group in np.array_split(num_updates, len(groups))]
    panel.fill_between(middle, [group.min() for group in groups], [group.max() for group in groups], alpha=0.25)
    panel.plot(middle, [group.mean() for group in groups])
    panel.set_ylabel("loss")
    return int(num_updates[-1])
