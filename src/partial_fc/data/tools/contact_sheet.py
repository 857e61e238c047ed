"""Pictures of a data set: a histogram of images per identity, and a sheet with images of some identities."""

from typing import Optional, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure

from ...pictures.sheet import Panel, draw_sheet, save_png
from ..images.decoding import decode_image, image_kind
from ..records.data_set import Grouped
from ..records.record_file import RecordFile

_ROWS = _COLUMNS = 10
# Larger images are not decoded: a damaged header must not allocate memory without bound.
_MOST_PIXELS = 2**26


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

    Images are scaled to their cells; those that cannot be decoded are grey with a cross.

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
    rows = [grouped.keys[grouped.edges[index] : grouped.edges[index + 1]][:_COLUMNS] for index in chosen]
    images = (map(lambda key: _image(records, int(key)), keys) for keys in rows)
    draw_sheet(path, [Panel("", images, [[names[index]] for index in chosen], _COLUMNS)])


def _image(records: RecordFile, key: int) -> Optional[np.ndarray]:
    """The image of a record, uint8 RGB (H, W, 3); None if it cannot be decoded, or is too large."""
    try:
        content = records.read_record(key).content
        height, width = image_kind(content).size
        return decode_image(content, (height, width)) if height * width <= _MOST_PIXELS else None
    except ValueError:  # InputError among them
        return None
