"""Files of features: `.npy`, (n, D), a row for each image."""

import numpy as np

from ..errors import InputError
from ..files import refuse_pointer


def read_features(path, num_rows=None):
    """The features in a `.npy` file, (n, D) floats, mapped from the file: rows come to memory when they are used.

    Nothing in the file is executed: arrays of Python's objects are refused.

    Args:
        path: of the file.
        num_rows: how many rows it has to have; None: any number.

    Raises:
        InputError: no such file, another format or shape, or another number of rows.
    """
    refuse_pointer(path)
    try:
        features = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # of many types: whatever damage of the header leads to
        raise InputError(f"{path}: not a file of features: {error}") from error
    if features.ndim != 2 or not features.size or features.dtype.kind != "f":
        raise InputError(f"{path}: expected floats (images, embedding size), got {features.dtype} {features.shape}")
    if num_rows not in (None, len(features)):
        raise InputError(f"{path}: {len(features)} rows of features for {num_rows} images: it is of other images")
    return features
