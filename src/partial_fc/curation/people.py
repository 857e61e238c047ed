"""The identities of a data set: their names, their images, and pictures of some of them."""

import logging
import os
from glob import escape, glob
from typing import Iterable, Iterator, List, Optional

import numpy as np

from ..checkpoint.record_features import RecordFeatures
from ..data.progress import Progress
from ..data.records.data_set import DataSet, prepared_output
from ..data.tools.contact_sheet import COLUMNS, Row, draw_rows
from ..data.tools.identity_lists import identity_lines
from ..errors import InputError
from ..files import file_state, has_ending, lines_digest
from .nearest import Pairs
from .vectors import CenterVectors, MeanVectors, Vectors

log = logging.getLogger("partial_fc")

_MOST_SHEETS = 200
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

    def counts(self, labels: np.ndarray) -> np.ndarray:
        """Numbers of images of identities, (n,) int64, by their labels, (n,) int64."""
        place = np.searchsorted(self.labels, labels).clip(max=len(self.labels) - 1)
        return np.where(self.labels[place] == labels, np.diff(self._grouped.edges)[place], 0)

    def listed(self, labels: Iterable[int]) -> Iterator[str]:
        """Lines of a list of identities, see `identity_lines`."""
        return identity_lines(self._names, labels)

    def row(self, label: int, note: str = "", keys: Optional[np.ndarray] = None) -> Row:
        """Row of a sheet: images of an identity, ten of them spread over all if none are chosen."""
        if keys is None:
            own = self.keys(label)
            chosen = np.linspace(0, len(own) - 1, min(COLUMNS, len(own))).round().astype(int)
            count = f"{COLUMNS} of " * (len(own) > COLUMNS) + _images(len(own))
            note, keys = f"{count}{note and ', ' + note}", own[chosen]
        name = self.name(label)
        return Row(name if name == str(label) else f"{label}: {name}", self.data_set.records, keys, note)

    def empty_row(self, text: str) -> Row:
        """Row of a sheet with text only."""
        return Row(text, self.data_set.records, np.empty(0, np.int64))

    def check_labels(self, num_classes: int, source: str) -> None:
        """Raise InputError if a label is none of the classes [0, num_classes) of `source`.

        Logs a warning if the data set has fewer identities, with and without images.
        """
        if self.labels[-1] >= num_classes:
            raise InputError(
                f"{self.data_set.records.path}: has label {self.labels[-1]}, {source} has {num_classes} classes: it "
                "was trained on another data set"
            )
        stated = self.data_set.property()
        listed = stated[0] if stated else self.data_set.records.num_identities or 0
        count = max(listed, int(self.labels[-1]) + 1, len(self._names))
        if count < num_classes:
            log.warning(
                f"{source} has {num_classes:,} classes, {self.data_set.records.path} {count:,} identities: is it the "
                "set it was trained on?"
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
        self._check_images(features, (f"{key}\t{label}" for key, label in zip(keys.tolist(), labels.tolist())))

    def _check_images(self, features: RecordFeatures, lines: Iterable[str]) -> None:
        """Raise InputError if `eval embed` has noted other `lines` of records, warn if the file has changed since."""
        path, about = self.data_set.records.path, features.about()
        if "names" in about and about["names"] != lines_digest(lines):
            raise InputError(f"{features.path}: features of other records than those of {path}: compute them again")
        if "states" in about and about["states"] != lines_digest([file_state(path)]):
            log.warning(
                "%s has changed, or was copied, since %s was computed: is that of these images?", path, features.path
            )


def with_images(pairs: Pairs, first: People, second: People) -> Pairs:
    """The pairs of labels in two data sets that both have images; logs the number of the others."""
    kept = np.isin(pairs.first, first.labels) & np.isin(pairs.second, second.labels)
    if not kept.all():
        log.info("left out %d close pairs with a class that has no images", np.count_nonzero(~kept))
    return pairs.chosen(kept)


def is_features(path: str) -> bool:
    """Whether a path is that of a file of features; otherwise it is that of a folder of centers."""
    return has_ending(path, ".npy")


def open_vectors(path: str, people: Optional[People] = None, sub_centers: Optional[int] = None) -> Vectors:
    """Vectors of the identities of a data set: the means of features, or centers.

    Args:
        path: of a file NAME.npy of features, or of a folder of centers.
        people: of the data set that the features are of, or that the centers were trained on, if it is known.
        sub_centers: see CenterVectors.

    Raises:
        InputError: as MeanVectors and CenterVectors; they are not of the data set.
    """
    if is_features(path):
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
    return text if images is None else f"{text} ({_images(images)})"


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"


def sheets_in(folder: str) -> List[str]:
    """Names of the sheets in a folder."""
    return [os.path.basename(path) for path in glob(os.path.join(escape(folder), "sheet-[0-9]*.png"))]


def draw_sheets(
    folder: str,
    sheets: Iterator[List[Row]],
    count: int,
    sources: Iterable[DataSet],
    overwrite: bool,
    progress: Progress = iter,
) -> int:
    """Write `sheet-0001.png` and so on, at most 200.

    Args:
        folder: of the pictures, made where missing.
        sheets: rows of each.
        count: of the sheets.
        sources: data sets that the images are from.
        overwrite: whether sheets that are there may be replaced; all of them are removed then.
        progress: wraps the iteration over the sheets.

    Returns:
        Number of sheets that were drawn.

    Raises:
        InputError: as `prepared_output`.
        OSError: naming the file that cannot be written.
    """
    old, drawn = sheets_in(folder), range(1, min(count, _MOST_SHEETS) + 1)
    with prepared_output(folder, list(sources), overwrite, old):
        for name in old:
            os.remove(os.path.join(folder, name))
        for number in progress(drawn):
            draw_rows(os.path.join(folder, f"sheet-{number:04d}.png"), next(sheets))
    return len(drawn)
