"""The identities of a data set: their names, their images, and pictures of some of them."""

import os
from glob import escape, glob
from typing import Callable, Iterable, List, Optional, Sequence

import numpy as np

from ..checkpoint.record_features import RecordFeatures
from ..data.progress import Progress
from ..data.records.data_set import DataSet, prepared_output
from ..data.tools.contact_sheet import Row, draw_rows
from ..errors import InputError
from ..files import has_ending
from .vectors import CenterVectors, MeanVectors, Vectors

_IN_A_ROW, _MOST_SHEETS, _MOST_ROWS = 10, 200, 20
_SHORT = 60  # characters of a name in a line of text


class People:
    """The identities of a data set by label.

    Args:
        source: folder or path of a record file.

    Attributes:
        data_set: the data set.
        labels: of the identities with images, (n,) int64, ascending.

    Raises:
        InputError: the data set is damaged, or its list of names is too short.
    """

    def __init__(self, source: str) -> None:
        self.data_set = DataSet(source)
        self._grouped = self.data_set.grouped()
        self.labels = self._grouped.labels
        self._names = self.data_set.names() or []
        self.data_set.names_of(self.labels[-1:].tolist())  # which raises if a name is missing

    def name(self, label: int) -> str:
        """Name of an identity; its label, if there are no names."""
        return self._names[label] if label < len(self._names) else str(label)

    def title(self, label: int) -> str:
        """Label, name if there is one, and number of images, for a line of text; long names are shortened."""
        return title(label, self.name(label), len(self.keys(label)))

    def keys(self, label: int) -> np.ndarray:
        """Numbers of the records of an identity, (n,) int64, ascending."""
        place = int(np.searchsorted(self.labels, label))
        if place == len(self.labels) or self.labels[place] != label:
            return np.empty(0, np.int64)
        return self._grouped.keys[self._grouped.edges[place] : self._grouped.edges[place + 1]]

    def row(self, label: int, note: str = "", keys: Optional[np.ndarray] = None) -> Row:
        """Row of a sheet: images of an identity, ten of them spread over all if none are chosen."""
        if keys is None:
            own = self.keys(label)
            chosen = np.linspace(0, len(own) - 1, min(_IN_A_ROW, len(own))).round().astype(int)
            note, keys = f"{len(own)} images{note and ', ' + note}", own[chosen]
        name = self.name(label)
        return Row(name if name == str(label) else f"{label}: {name}", self.data_set.records, keys, note)

    def check_labels(self, num_classes: int, source: str) -> None:
        """Raise InputError if a label is none of the classes [0, num_classes) of `source`."""
        if self.labels[-1] >= num_classes:
            raise InputError(
                f"{self.data_set.records.path}: has label {self.labels[-1]}, {source} has {num_classes} classes: it "
                "was trained on another data set"
            )

    def check_features(self, features: RecordFeatures) -> None:
        """Raise InputError if features are not of the images of this data set."""
        order = np.argsort(self._grouped.keys)
        keys = self._grouped.keys[order]
        labels = np.repeat(self.labels, np.diff(self._grouped.edges))[order]
        places = np.searchsorted(keys, features.keys).clip(max=len(keys) - 1)
        wrong = np.flatnonzero((keys[places] != features.keys) | (labels[places] != features.labels))
        if len(wrong):
            raise InputError(
                f"{features.label_file}, line {wrong[0] + 1}: {self.data_set.records.path} has no record "
                f"{features.keys[wrong[0]]} with label {features.labels[wrong[0]]}: features of another data set"
            )


def open_vectors(path: str, people: Optional[People] = None, sub_centers: Optional[int] = None) -> Vectors:
    """Vectors of the identities of a data set: the means of features, or centers.

    Args:
        path: of a file NAME.npy of features, or of a folder of centers.
        people: of the data set that the features are of, or that the centers were trained on, if it is known.
        sub_centers: see CenterVectors.

    Raises:
        InputError: as MeanVectors and CenterVectors; they are not of the data set.
    """
    if has_ending(path, ".npy"):
        features = RecordFeatures(path)
        if people:
            people.check_features(features)
        return MeanVectors(features)
    centers = CenterVectors(path, sub_centers)
    if people:
        people.check_labels(centers.num_classes, path)
    return centers


def title(label: int, name: str, images: Optional[int]) -> str:
    """Label, name and number of images, if they are known, for a line of text; long names are shortened."""
    short = name if len(name) <= _SHORT else name[:_SHORT] + "..."
    text = str(label) if name == str(label) else f"{label} {short}"
    return text if images is None else f"{text} ({images} images)"


def sheets_in(folder: str) -> List[str]:
    """Names of the sheets in a folder."""
    return [os.path.basename(path) for path in glob(os.path.join(escape(folder), "sheet-[0-9]*.png"))]


def draw_sheets(
    folder: str,
    sheets: Sequence[Callable[[], List[Row]]],
    sources: Iterable[DataSet],
    overwrite: bool,
    progress: Progress = iter,
) -> int:
    """Write `sheet-0001.png` and so on, at most 200, of at most 20 rows each.

    Args:
        folder: of the pictures, made where missing.
        sheets: functions that return the rows of each.
        sources: data sets that the images are from.
        overwrite: whether sheets that are there may be replaced; all of them are removed then.
        progress: wraps the iteration over the sheets.

    Returns:
        Number of sheets.

    Raises:
        InputError: as `prepared_output`.
        OSError: naming the file that cannot be written.
    """
    old = sheets_in(folder)
    with prepared_output(folder, list(sources), overwrite, old):
        for name in old:
            os.remove(os.path.join(folder, name))
        drawn = sheets[:_MOST_SHEETS]
        for number, rows in enumerate(progress(drawn), start=1):
            draw_rows(os.path.join(folder, f"sheet-{number:04d}.png"), rows()[:_MOST_ROWS])
    return len(drawn)
