"""Unit vectors of classes: their centers, or the means of the embeddings of their images."""

import os
from typing import Callable, Optional, Protocol

import numpy as np

from ..checkpoint.center_files import CenterFiles, row_blocks
from ..checkpoint.checkpoints import MANIFEST
from ..checkpoint.record_features import RecordFeatures
from ..errors import InputError
from ..files import read_json

_TINY = np.finfo(np.float32).tiny


class Vectors(Protocol):
    """One or several unit vectors for each class: interface of the classes below.

    Attributes:
        labels: of the n classes, (n,) int64.
        num_classes: n.
        num_each: K, vectors of each class.
        size: D, numbers in a vector.
    """

    labels: np.ndarray
    num_classes: int
    num_each: int
    size: int

    def unit(self, classes: slice) -> np.ndarray:
        """Vectors of the classes, (classes K, D) float32, of norm 1, or 0. Threads call it."""


class CenterVectors:
    """The centers in a folder, read block by block.

    Args:
        folder: a checkpoint, or another folder of centers, see CenterFiles.
        sub_centers: K, centers of each class; None: as the checkpoint says, 1 in a folder of centers only.

    Attributes:
        labels, num_classes, num_each, size: see `Vectors`.

    Raises:
        InputError: as CenterFiles; a damaged manifest; K does not divide the numbers per class.
    """

    def __init__(self, folder: str, sub_centers: Optional[int] = None) -> None:
        self._folder, self._centers = folder, CenterFiles(folder)
        self.num_classes = self._centers.num_classes
        self.num_each = sub_centers or _saved_sub_centers(folder)
        self.size, rest = divmod(self._centers.embedding_size, self.num_each)
        if rest:
            raise InputError(
                f"{folder}: {self._centers.embedding_size} numbers per class are not those of {self.num_each} "
                "`sub_centers`"
            )
        self.labels = np.arange(self.num_classes)

    def unit(self, classes: slice) -> np.ndarray:
        """Centers divided by their norms, (classes K, D) float32; raises InputError for one that is not finite."""
        parts = [block[1] for block in self._centers.blocks(classes.start, classes.stop, with_state=False)]
        weight = parts[0] if len(parts) == 1 else np.concatenate(parts)

        def name(row: int) -> str:
            return f"{self._folder}: the center of class {classes.start + row // self.num_each}"

        return _divided(weight.reshape(-1, self.size), name)


class MeanVectors:
    """For each label in a file of features, the mean of the unit embeddings of its images; all in memory.

    Args:
        features: of the images of a data set.

    Attributes:
        labels, num_classes, num_each, size: see `Vectors`; the classes are the labels that have images, ascending.

    Raises:
        InputError: a row of the features is not finite.
    """

    def __init__(self, features: RecordFeatures) -> None:
        self.labels, index = np.unique(features.labels, return_inverse=True)
        self.num_classes, self.num_each, self.size = len(self.labels), 1, features.size
        self._means = np.zeros((self.num_classes, self.size), np.float32)
        order = np.argsort(index, kind="stable")
        for rows in row_blocks(len(order), self.size):
            classes = index[order[rows]]
            starts = np.flatnonzero(np.diff(classes, prepend=-1))
            self._means[classes[starts]] += np.add.reduceat(unit_features(features, order[rows]), starts, axis=0)
        self._means = _divided(self._means, lambda row: f"{features.path}: the mean of label {self.labels[row]}")

    def unit(self, classes: slice) -> np.ndarray:
        """Means divided by their norms, (classes, D) float32."""
        return self._means[classes]


def unit_features(features: RecordFeatures, rows: np.ndarray) -> np.ndarray:
    """Embeddings of images divided by their norms, (n, D) float32; those of norm 0 stay 0.

    Raises:
        InputError: naming a record whose embedding is not finite.
    """
    vectors = np.asarray(features.features[rows], np.float32)
    return _divided(vectors, lambda row: f"{features.path}: the embedding of record {features.keys[rows[row]]}")


def _divided(vectors: np.ndarray, name: Callable[[int], str]) -> np.ndarray:
    """Vectors (n, D) divided by their norms; raises InputError with `name(row)` for one that is not finite."""
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    finite = np.isfinite(norms)
    if not finite.all():
        raise InputError(f"{name(int(np.argmin(finite)))} is not finite")
    return vectors / np.maximum(norms, _TINY)[:, None]


def _saved_sub_centers(folder: str) -> int:
    """K of the run that saved a checkpoint; 1 for a folder of centers without manifest."""
    path = os.path.join(folder, MANIFEST)
    if not os.path.exists(path):
        return 1
    content = read_json(path)
    configuration = content.get("configuration") if isinstance(content, dict) else None
    count = configuration.get("sub_centers", 1) if isinstance(configuration, dict) else None
    if type(count) is not int or count < 1:
        raise InputError(f"{path}: does not say how many sub_centers its classes have: damaged")
    return count
