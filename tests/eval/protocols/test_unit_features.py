import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.eval.protocols.unit_features import UnitFeatures, unit_rows


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
