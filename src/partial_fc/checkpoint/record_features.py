"""Features of the images of a record file, and the list of the records that `eval embed --rec` writes beside them."""

import os
from typing import Any, Dict, Optional

import numpy as np

from ..errors import InputError
from ..files import read_json
from ..lists.numbers import number_rows
from .numpy_file import open_matrix

_WAYS = {
    "model": "of two models, or by other options",
    "flip": "with and without mirror images",
    "image_size": "of images of two sizes",
}


class RecordFeatures:
    """Features of images, which are read when they are used.

    Args:
        path: of the `.npy` file that `eval embed --rec` writes; the `.txt` file beside it has number and label of the
            n records.
        num_classes: number of labels there are; None: any.

    Attributes:
        path: as given.
        features: (n, D) float, mapped from the file.
        size: D.
        keys, labels: of the records, (n,) int64; `label_file` has them.

    Raises:
        InputError: features or list are missing or damaged, do not match, or a label is out of range.
    """

    def __init__(self, path: str, num_classes: Optional[int] = None) -> None:
        self.path, self.label_file = path, os.path.splitext(path)[0] + ".txt"
        self.features = open_matrix(path, "features")
        self.size = self.features.shape[1]
        what = "number and label of a record, as `eval embed --rec` writes"
        blocks = [rows for _, rows in number_rows(self.label_file, 2, what)]
        records = np.concatenate([np.empty((0, 2), np.int64), *blocks])
        self.keys, self.labels = records.T
        if len(records) != len(self.features):
            raise InputError(f"{self.label_file}: {len(records)} lines for {len(self.features)} rows of {path}")
        if num_classes is not None and (self.labels >= num_classes).any():
            line = int(np.argmax(self.labels >= num_classes))
            raise InputError(
                f"{self.label_file}, line {line + 1}: label {self.labels[line]} lies outside [0, {num_classes})"
            )

    def about(self) -> Dict[str, Any]:
        """See `about_features`, of these."""
        return about_features(self.path)


def about_path(path: str) -> str:
    """Path of the file in which `eval embed` notes what the features in `NAME.npy` are of: `NAME.json`."""
    return os.path.splitext(path)[0] + ".json"


def about_features(path: str) -> Dict[str, Any]:
    """Model and images of the features in `NAME.npy`, as `eval embed` notes them in `NAME.json`.

    Empty if there is no such file, or another one of this name.
    """
    try:
        about = read_json(about_path(path))
    except InputError:
        return {}
    return about if isinstance(about, dict) and "model" in about else {}


def check_one_model(first: str, second: str) -> None:
    """Raise InputError if two files of features are of different models, or computed in different ways.

    Without their files `NAME.json` nothing is known, and nothing raised.
    """
    abouts = about_features(first), about_features(second)
    for name, what in _WAYS.items():
        values = [about[name] for about in abouts if name in about]
        if len(values) == 2 and values[0] != values[1]:
            raise InputError(
                f"{first} and {second}: features {what}, as the .json files beside them say, cannot be compared: "
                "compute both with one model and the same options"
            )
