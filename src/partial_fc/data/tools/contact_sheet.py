"""Pictures of a data set: a histogram of images per identity, and sheets with rows of images."""

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure

from ...pictures.sheet import Panel, draw_sheet, save_png
from ..images.decoding import decode_image, image_kind
from ..records.data_set import Grouped
from ..records.record_file import RecordFile

_ROWS = COLUMNS = 10
# Larger images are not decoded: a damaged header must not allocate memory without bound.
_MOST_PIXELS = 2**26


class Row(NamedTuple):
    """A row of a sheet.

    Attributes:
        name: written beside it, of any script; what does not fit into the height of the row is left out.
        records: of the images.
        keys: numbers of the records, (n,) int64; the first ten are shown, and the number of all if there are more.
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
    save_png(figure, path)


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

    Images are scaled to their cells; those that cannot be decoded are gray with a cross.

    Args:
        path: of the PNG.
        rows: from the top.

    Raises:
        OSError: the PNG cannot be written.
    """
    images = ([_image(row.records, key) for key in row.keys[:COLUMNS].tolist()] for row in rows)
    draw_sheet(path, [Panel("", images, [[row.name, *_note(row)] for row in rows], COLUMNS)])


def _note(row: Row) -> List[str]:
    more = [f"the first {COLUMNS} of {len(row.keys)} images"] if len(row.keys) > COLUMNS else []
    return [*row.note.splitlines(), *more]


def _image(records: RecordFile, key: int) -> Optional[np.ndarray]:
    """The image of a record, uint8 RGB (H, W, 3); None if it cannot be decoded, or is too large."""
    try:
        content = records.read_record(key).content
        height, width = image_kind(content).size
        return decode_image(content, (height, width)) if height * width <= _MOST_PIXELS else None
    except ValueError:  # InputError among them
        return None
