import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.eval.features import UnitFeatures, open_features, unit_rows


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_unit_rows(kind):
    rows = np.array([[3, 4], [0, 0], [0, -1e-3]], kind)
    unit = unit_rows(rows, "rows")
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 0], [0, -1]], atol=1e-7)
    assert unit.dtype == np.float32 and unit.flags.c_contiguous
    features = UnitFeatures(rows, "rows")
    assert features.rows(np.array([2, 0])).tolist() == unit[[2, 0]].tolist()
    assert features.rows(np.array([0])).dtype == np.float32


def test_scales_that_float32_cannot_square():
    np.testing.assert_allclose(unit_rows(np.float32([[1e30, 1e30], [1e-30, 0]]), "rows"), [[0.5**0.5] * 2, [1, 0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named(bad):
    rows = np.ones((5000, 2))
    rows[4999, 1] = bad
    with pytest.raises(InputError, match="rows: row 5006 .* not finite"):
        unit_rows(rows, "rows", first=7)
    with pytest.raises(InputError, match="rows: row 4999 .* not finite"):
        UnitFeatures(rows, "rows")


def test_files(tmp_path):
    path = str(tmp_path / "features.npy")
    np.save(path, np.ones((5, 3), np.float32))
    assert open_features(path, 5).shape == (5, 3)
    with pytest.raises(InputError, match="has 5 rows, the lists have 6 images"):
        open_features(path, 6)
    for wrong in (np.ones(5), np.ones((5, 3), int), np.ones((5, 0)), np.array([[None]]), np.ones((2, 2, 2))):
        np.save(path, wrong, allow_pickle=True)
        with pytest.raises(InputError, match="features.npy"):
            open_features(path)
    for content in (b"", b"\x93NUMPY\x01\x00\x76\x00", b"not numpy at all"):
        (tmp_path / "features.npy").write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as a .npy file"):
            open_features(path)
    with pytest.raises(InputError, match="No such file"):
        open_features(str(tmp_path / "nowhere.npy"))
