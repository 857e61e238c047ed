"""Pictures of a data set: a histogram of images per identity, and sheets with rows of images."""

from typing import NamedTuple, Sequence, Tuple

import cv2
import numpy as np
from matplotlib.figure import Figure

from ...files import atomic_path
from ...pictures.labels import Labels
from ..images.decoding import decode_image, image_kind
from ..records.data_set import Grouped
from ..records.record_file import RecordFile

_ROWS = _COLUMNS = 10
_CELL, _GAP, _NAME_COLUMNS, _NAME_LINES = 96, 4, 40, 7
_GREY, _CROSS = 200, (150, 60, 60)
# Larger images are not decoded: a damaged header must not allocate memory without bound.
_MOST_PIXELS = 2**26


class Row(NamedTuple):
    """A row of a sheet.

    Attributes:
        name: written beside it, of any script; what does not fit into the height of the row is left out.
        records: of the images.
        keys: numbers of the records, (n,) int64; the first ten are shown.
        note: lines of plain text below the name.
    """

    name: str
    records: RecordFile
    keys: np.ndarray
    note: str = ""


def draw_histogram(path: str, bins: Sequence[Tuple[str, int]]) -> None:
    """Write a PNG of a bar chart.

    Args:
        path: of the PNG.
        bins: (text, number of identities) of each bar.

    Raises:
        OSError: the PNG cannot be written.
    """
    figure = Figure(figsize=(8, 4), dpi=100, layout="constrained")
    panel = figure.subplots()
    bars = panel.bar([text for text, _ in bins], [number for _, number in bins])
    panel.bar_label(bars)
    panel.set_xlabel("images per identity")
    panel.set_ylabel("identities")
    _save(figure, path)


def draw_contact_sheet(path: str, records: RecordFile, grouped: Grouped, names: Sequence[str]) -> None:
    """Write a PNG with a row of images for each of ten identities, spread evenly over all identities.

    Args:
        path: of the PNG.
        records: the record file.
        grouped: its images by identity.
        names: of the identities of `grouped`, written beside the rows.

    Raises:
        OSError: the PNG cannot be written.
    """
    count = len(grouped.labels)
    chosen = np.linspace(0, count - 1, min(_ROWS, count)).round().astype(int)
    edges = grouped.edges
    draw_rows(path, [Row(names[index], records, grouped.keys[edges[index] : edges[index + 1]]) for index in chosen])


def draw_rows(path: str, rows: Sequence[Row]) -> None:
    """Write a PNG of rows of images with names.

    Images are scaled to their cells; those that cannot be decoded are grey with a cross.

    Args:
        path: of the PNG.
        rows: from the top.

    Raises:
        OSError: the PNG cannot be written.
    """
    step = _CELL + _GAP
    sheet = np.full((len(rows) * step, _COLUMNS * step, 3), 255, np.uint8)
    for place, row in enumerate(rows):
        for column, key in enumerate(row.keys[:_COLUMNS].tolist()):
            top, left = place * step, column * step
            sheet[top : top + _CELL, left : left + _CELL] = _cell(row.records, key)
    # The size of the sheet at 100 pixels per inch, and space for the names.
    figure = Figure(figsize=(sheet.shape[1] / 100 + 3, sheet.shape[0] / 100 + 0.5), dpi=100, layout="constrained")
    panel = figure.subplots()
    panel.imshow(sheet)
    panel.set_xticks([])
    panel.set_yticks(np.arange(len(rows)) * step + _CELL // 2)
    labels = Labels.of([row.name for row in rows])
    for text in panel.set_yticklabels([_text(labels, row) for row in rows], fontsize=8):
        labels.prepare(text)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    figure.draw_without_rendering()  # the layout, which keeps the shape of the sheet, fits the names at the second pass
    _save(figure, path)


def _text(labels: Labels, row: Row) -> str:
    """Text beside a row, of as many lines as are as high as the row."""
    lines, notes = labels.text(row.name, _NAME_COLUMNS).split("\n"), row.note.splitlines()
    if len(lines) + len(notes) > _NAME_LINES:
        lines = [*lines[: _NAME_LINES - len(notes) - 1], "..."]
    return "\n".join([*lines, *notes])


def _cell(records, key):
    """The image of a record, scaled to fit, uint8 (_CELL, _CELL, 3)."""
    cell = np.full((_CELL, _CELL, 3), 255, np.uint8)
    try:
        content = records.read_record(key).content
        height, width = image_kind(content).size
        if height * width > _MOST_PIXELS:
            raise ValueError("too large")
        image = decode_image(content, (height, width))
    except ValueError:  # InputError among them
        cell[:] = _GREY
        cv2.line(cell, (0, 0), (_CELL - 1, _CELL - 1), _CROSS, 2)
        cv2.line(cell, (0, _CELL - 1), (_CELL - 1, 0), _CROSS, 2)
        return cell
    scale = _CELL / max(height, width)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = cv2.resize(image, fitted, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (_CELL - image.shape[0]) // 2, (_CELL - image.shape[1]) // 2
    cell[top : top + image.shape[0], left : left + image.shape[1]] = image
    return cell


def _save(figure, path):
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")
