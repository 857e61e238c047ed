"""Labels in the forms that readers give them, and those that are none."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.head.labels import class_ids

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@pytest.mark.parametrize(
    "labels",
    [
        [3, 0, 9],
        (3.0, 0.0, 9.0),
        mx.nd.array([3, 0, 9]),
        mx.nd.array([3, 0, 9], dtype="int32"),
        mx.np.array([3, 0, 9]),
        np.array([3, 0, 9], np.float16),
        *(np.array([3, 0, 9], kind) for kind in INTEGERS),
    ],
)
def test_whole_numbers_of_any_kind(labels):
    ids = class_ids(labels, 10)
    assert ids.dtype == np.int64 and ids.tolist() == [3, 0, 9]


@pytest.mark.parametrize(
    "labels, reported",
    [
        (np.array([1, 2.5]), "sample 1 of the batch has label 2.5, not a whole number"),
        (np.array([np.nan, 1]), r"sample 0 of the batch has label nan, outside \[0, 10\)"),
        (np.array([1, np.inf]), "has label inf, outside"),
        (np.array([1, -1]), "has label -1, outside"),
        (np.array([1, 2**64 - 1], np.uint64), "has label 18446744073709551615, outside"),
        (np.array([[1], [2]]), r"shape \(b,\), not int64 of shape \(2, 1\)"),
        (np.array(3), r"of shape \(\)"),
        ([], "of shape"),
        (["a"], "not <U1"),
        ([True, False], "not bool"),
        ([[1], [2, 3]], "labels must be whole numbers"),
        ([2**70], "not object"),
        ([mx.nd.array([1, 2])], r"of a DataBatch, pass label\[0\]"),
    ],
)
@pytest.mark.filterwarnings("ignore::numpy.VisibleDeprecationWarning")
def test_what_is_no_label(labels, reported):
    with pytest.raises(InputError, match=reported):
        class_ids(labels, 10)


@pytest.mark.parametrize("dtype, most", [("float16", 2**11), ("float32", 2**24), ("float64", 2**53)])
def test_floats_only_where_they_tell_all_classes_apart(dtype, most):
    assert class_ids(np.array([most - 1], dtype), most).tolist() == [most - 1]
    with pytest.raises(InputError, match=f"{dtype} cannot distinguish {most + 1} classes"):
        class_ids(np.array([5], dtype), most + 1)
    assert class_ids(np.array([most]), most + 1).tolist() == [most]
