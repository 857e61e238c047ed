"""The picture of a run: loss, accuracy and learning rate over the updates."""

from typing import Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import InputError
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
        losses_path: `losses.csv` of LossLog, without losses for a run that continues in another folder and has nothing
            left to train.
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
    max_update = max(_draw_loss(panels[0], losses_path), history[-1][0])
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
    """Draw the loss; returns the last update that has one, or 0."""
    num_updates, losses = read_losses(losses_path)
    panel.set_ylabel("loss")
    if not len(losses):
        return 0
    groups = grouped(num_updates, losses)
    panel.fill_between(groups.middle, groups.smallest, groups.largest, alpha=0.25)
    panel.plot(groups.middle, groups.mean)
    return int(num_updates[-1])


def read_losses(path: str) -> Tuple[np.ndarray, np.ndarray]:
    """Updates (n,) int64 and losses (n,) float64 of `losses.csv`; a last line that is not complete is left out.

    Raises:
        InputError: another line is not one of LossLog's; the message names file and line.
    """
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")[1:-1]  # the first is the head, and what follows the last end is not a line
    try:
        rows = [line.split(b",") for line in lines]
        return np.array([int(update) for update, _ in rows], np.int64), np.array([float(loss) for _, loss in rows])
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: not the losses of a run: {error}") from error


class Groups(NamedTuple):
    """Values of successive updates, together, (k,) float64 each: middle of the updates, mean and ends of the values."""

    middle: np.ndarray
    mean: np.ndarray
    smallest: np.ndarray
    largest: np.ndarray


def grouped(num_updates: np.ndarray, values: np.ndarray) -> Groups:
    """At most 400 groups, of nearly equal size, of the values (n,) of updates (n,), n > 0."""
    starts = np.linspace(0, len(values), min(_GROUPS, len(values)), endpoint=False).astype(int)
    sizes = np.diff(starts, append=len(values))
    sums = (np.add.reduceat(each.astype(np.float64), starts) for each in (num_updates, values))
    middle, mean = (each / sizes for each in sums)
    return Groups(middle, mean, np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts))
