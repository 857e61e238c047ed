"""Files of features: `.npy`, (n, D), a row for each image."""

from ..checkpoint.numpy_file import open_matrix
from ..errors import InputError


def read_features(path, num_rows=None):
    """The features in a `.npy` file, (n, D) floats, mapped from the file, see `open_matrix`.

    Args:
        path: of the file.
        num_rows: how many rows it has to have; None: any number.

    Raises:
        InputError: no such file, another format or shape, or another number of rows.
    """
    features = open_matrix(path, "features")
    if num_rows not in (None, len(features)):
        raise InputError(f"{path}: {len(features)} rows of features for {num_rows} images: it is of other images")
    return features
