"""Sheets of pictures: rows of images, with text beside each row."""

from typing import Iterable, NamedTuple, Optional, Sequence

import cv2
import numpy as np
from matplotlib.figure import Figure

from ..files import atomic_path
from .labels import Labels

_CELL, _GAP, _TEXT_COLUMNS, _TEXT_LINES = 96, 4, 40, 7
_GRAY, _CROSS = 200, (150, 60, 60)


class Panel(NamedTuple):
    """A part of a sheet.

    Attributes:
        title: above it; empty: none.
        rows: of images, uint8 RGB (H, W, 3) of any size; None for one that cannot be read. They are read once, so that
            not all need to be in memory at a time.
        texts: the lines of text beside each row; what of the first does not fit into its height is left out.
        columns: images per row that there is space for.
    """

    title: str
    rows: Iterable[Iterable[Optional[np.ndarray]]]
    texts: Sequence[Sequence[str]]
    columns: int


def draw_sheet(path: str, panels: Sequence[Panel]) -> None:
    """Write a PNG with the panels side by side.

    Images are scaled to fit; in place of one that cannot be read there is a gray square with a cross.

    Args:
        path: of the PNG.
        panels: of which one has rows.

    Raises:
        OSError: the PNG cannot be written.
    """
    grids = [_grid(panel) for panel in panels]
    widths = [grid.shape[1] / 100 + 3 for grid in grids]  # at 100 pixels per inch, and space for the texts
    height = max(grid.shape[0] for grid in grids) / 100 + 0.5
    figure = Figure(figsize=(sum(widths), height), dpi=100, layout="constrained")
    labels = Labels.of(line for panel in panels for lines in [[panel.title], *panel.texts] for line in lines)
    drawn = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
    for axes, panel, grid in zip(drawn, panels, grids):
        axes.imshow(grid)
        axes.set_anchor("N")
        axes.set_xticks([])
        axes.set_yticks(np.arange(len(panel.texts)) * (_CELL + _GAP) + _CELL // 2)
        if panel.title:
            labels.apply(axes.set_title("", fontsize=10), panel.title, 2 * _TEXT_COLUMNS)
        for text in axes.set_yticklabels([_text(labels, lines) for lines in panel.texts], fontsize=8):
            labels.prepare(text)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    figure.draw_without_rendering()  # the layout, which keeps the shape of the grid, fits the texts at the second pass
    save_png(figure, path)


def save_png(figure: Figure, path: str) -> None:
    """Write a figure as a PNG, whole or not at all; raises OSError naming it."""
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")


def _text(labels: Labels, lines: Sequence[str]) -> str:
    """Text beside a row, of at most _TEXT_LINES lines unless there are more beside the first."""
    first, *others = (labels.text(line, _TEXT_COLUMNS).split("\n") for line in lines)
    rest = [line for each in others for line in each]
    if len(first) + len(rest) > _TEXT_LINES:
        first = [*first[: max(0, _TEXT_LINES - len(rest) - 1)], "..."]
    return "\n".join([*first, *rest])


def _grid(panel: Panel) -> np.ndarray:
    """The images of a panel side by side, uint8 RGB."""
    step = _CELL + _GAP
    grid = np.full((max(len(panel.texts), 1) * step, panel.columns * step, 3), 255, np.uint8)
    for row, images in enumerate(panel.rows):
        for column, image in enumerate(images):
            grid[row * step : row * step + _CELL, column * step : column * step + _CELL] = _cell(image)
    return grid


def _cell(image: Optional[np.ndarray]) -> np.ndarray:
    """The image scaled to fit, uint8 (_CELL, _CELL, 3)."""
    cell = np.full((_CELL, _CELL, 3), 255, np.uint8)
    if image is None:
        cell[:] = _GRAY
        cv2.line(cell, (0, 0), (_CELL - 1, _CELL - 1), _CROSS, 2)
        cv2.line(cell, (0, _CELL - 1), (_CELL - 1, 0), _CROSS, 2)
        return cell
    height, width = image.shape[:2]
    scale = _CELL / max(height, width)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = cv2.resize(image, fitted, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (_CELL - image.shape[0]) // 2, (_CELL - image.shape[1]) // 2
    cell[top : top + image.shape[0], left : left + image.shape[1]] = image
    return cell
