"""Features of the images of a record file, and the list of the records that `eval embed --rec` writes beside them."""

import os
from typing import Optional

import numpy as np

from ..errors import InputError
from ..lists.numbers import number_rows
from .numpy_file import open_matrix


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
