"""One center per class out of several, and the images far from it: Sub-center ArcFace (ECCV 2020), section 3.3."""

import os
from typing import Iterator, NamedTuple, Tuple

import numpy as np

from ..errors import InputError
from ..files import atomic_path
from .center_files import Block, CenterFiles, row_blocks
from .convert_centers import Progress, write_all
from .record_features import RecordFeatures

FAR_IMAGES = "far-images.txt"
_FAR = 75.0  # degrees, as published


class Dominant(NamedTuple):
    """What `keep_dominant` has done.

    Attributes:
        sub_centers: K, centers per class before.
        unseen: classes without an image, which keep their first center.
        far: images in the list.
        images: all of them.
    """

    sub_centers: int
    unseen: int
    far: int
    images: int


def keep_dominant(folder: str, features_path: str, out: str, progress: Progress = iter) -> Dominant:
    """Write for each class the center that is closest to most of its images, with the optimizer's state of it.

    `OUT/far-images.txt` lists the images farther than 75 degrees from it: number of the record, label and angle, with
    tabs between. Their labels may be wrong.

    Args:
        folder: of centers, (N, K D), see CenterFiles.
        features_path: of the `.npy` file (n, D) that `eval embed --rec` writes of the training data by the model of
            these centers; the `.txt` file beside it has number and label of the n records.
        out: folder for the new files, which has no centers yet.
        progress: wraps the iteration over blocks of images.

    Raises:
        InputError: features of another size than the centers, wrong lines or labels, files that are missing or damaged.
    """
    centers = CenterFiles(folder)
    images = RecordFeatures(features_path, centers.num_classes)
    sub_centers, rest = divmod(centers.embedding_size, images.size)
    if rest or sub_centers < 2:
        raise InputError(
            f"{features_path}: features of {images.size} numbers; {folder} has {centers.embedding_size} "
            "numbers per class, expected a multiple: give centers of a run with sub_centers, and features by its model"
        )
    closest, cosines = _closest(centers, images.features, images.labels, progress)
    counts = np.zeros((centers.num_classes, sub_centers), np.int64)
    np.add.at(counts, (images.labels, closest), 1)
    dominant = counts.argmax(axis=1)  # (N,)
    chosen = _chosen_blocks(centers, dominant, sub_centers)
    write_all(out, centers.num_classes, images.size, chosen, centers.states)
    own = cosines[np.arange(len(images.labels)), dominant[images.labels]]
    far = _write_far(os.path.join(out, FAR_IMAGES), images, np.degrees(np.arccos(own.clip(-1, 1))))
    return Dominant(sub_centers, int((counts.sum(axis=1) == 0).sum()), far, len(images.labels))


def _closest(
    centers: CenterFiles, features: np.ndarray, labels: np.ndarray, progress: Progress
) -> Tuple[np.ndarray, np.ndarray]:
    """For each image which center of its class is closest (n,), and its cosine with all of them (n, K)."""
    size = features.shape[1]
    cosines = np.empty((len(features), centers.embedding_size // size), np.float32)
    for rows in progress(row_blocks(len(features), centers.embedding_size)):
        weight = centers.take(labels[rows])[0].reshape(len(labels[rows]), -1, size)
        feature = np.asarray(features[rows], np.float32)
        lengths = np.linalg.norm(weight, axis=2) * np.linalg.norm(feature, axis=1, keepdims=True)
        cosines[rows] = np.einsum("nkd,nd->nk", weight, feature) / np.maximum(lengths, np.finfo(np.float32).tiny)
    return cosines.argmax(axis=1), cosines


def _chosen_blocks(centers: CenterFiles, dominant: np.ndarray, sub_centers: int) -> Iterator[Block]:
    for rows in row_blocks(centers.num_classes, centers.embedding_size):
        for start, *arrays in centers.blocks(rows.start, rows.stop):
            index = np.arange(len(arrays[0])), dominant[start : start + len(arrays[0])]
            yield (start, *(array.reshape(len(array), sub_centers, -1)[index] for array in arrays))


def _write_far(path: str, images: RecordFeatures, angles: np.ndarray) -> int:
    """Write the list of images far from their center; returns their number."""
    far = np.flatnonzero(angles > _FAR)
    with atomic_path(path) as unfinished, open(unfinished, "w", encoding="utf-8") as file:
        file.writelines(f"{images.keys[i]}\t{images.labels[i]}\t{angles[i]:.1f}\n" for i in far)
    return len(far)
