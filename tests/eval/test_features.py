import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.eval.features import read_features


def test_reads_what_numpy_wrote(tmp_path):
    features = np.random.RandomState(0).randn(5, 3).astype(np.float32)
    np.save(tmp_path / "f.npy", features)
    read = read_features(str(tmp_path / "f.npy"), 5)
    assert isinstance(read, np.memmap) and np.array_equal(read, features)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.array([[None]]), r"object of shape \(1, 1\), expected floats"),
        (np.ones((3, 2), int), r"int64 of shape \(3, 2\), expected floats in two dimensions"),
        (np.ones(6), r"float64 of shape \(6,\), expected floats"),
        (np.ones((4, 2)), "4 rows of features for 3 images"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
    np.save(tmp_path / "f.npy", array)
    with pytest.raises(InputError, match=message):
        read_features(str(tmp_path / "f.npy"), 3)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "f.npy"
    with pytest.raises(InputError, match="f.npy: not a NumPy file of features"):
        read_features(str(path))
    np.save(path, np.ones((50, 4)))
    whole, random = path.read_bytes(), np.random.RandomState(0)
    for length in (0, 5, 9, 40, 127, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="f.npy: not a NumPy file of features"):
            read_features(str(path))
    for _ in range(300):  # a changed byte of the header: another array, or an error of ours
        damaged = bytearray(whole)
        damaged[random.randint(0, 90)] = random.randint(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            assert read_features(str(path)).ndim == 2
        except InputError as error:
            assert "f.npy: " in str(error)
