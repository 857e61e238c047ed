"""The labels of a batch, of any array type, as class ids."""

from typing import Any, Sequence, Union

import mxnet as mx
import numpy as np

from ..errors import InputError


def class_ids(labels: Any, num_classes: int, records: Union[Sequence, np.ndarray, None] = None) -> np.ndarray:
    """Labels as (b,) int64.

    Args:
        labels: (b,) whole numbers in [0, num_classes): NDArray, NumPy array or list, integers or floating point.
        num_classes: N.
        records: b names or numbers of the samples, for the error message.

    Raises:
        InputError: of another shape or type, a label that is no class, or floats with too few digits for N class ids.
    """
    values = _to_numpy(labels)
    if values.dtype.kind not in "iuf" or values.ndim != 1 or not len(values):
        raise InputError(f"labels must be whole numbers of shape (b,), not {values.dtype} of shape {values.shape}")
    if values.dtype.kind == "f" and num_classes > 2 ** (np.finfo(values.dtype).nmant + 1):
        raise InputError(f"labels of type {values.dtype} cannot distinguish {num_classes} classes: pass them as int64")
    wrong = np.flatnonzero(~((values >= 0) & (values < num_classes)))[:3]
    if len(wrong):
        raise InputError(
            f"{_named(values, wrong, records)}, outside [0, {num_classes}): correct the records, "
            "or set num_classes to the number of identities"
        )
    wrong = np.flatnonzero(values % 1)[:3]
    if len(wrong):
        raise InputError(f"{_named(values, wrong, records)}, not a whole number: labels are class ids")
    return values.astype(np.int64)


def _to_numpy(labels: Any) -> np.ndarray:
    if isinstance(labels, mx.nd.NDArray):
        return labels.asnumpy()
    if isinstance(labels, (list, tuple)) and any(isinstance(label, mx.nd.NDArray) for label in labels):
        raise InputError("labels must be one array, not a list of NDArrays: of a DataBatch, pass label[0]")
    try:
        return np.asarray(labels)
    except ValueError as error:
        raise InputError(f"labels must be whole numbers of shape (b,): {error}") from error


def _named(values: np.ndarray, wrong: np.ndarray, records: Union[Sequence, np.ndarray, None]) -> str:
    names = [f"sample {i} of the batch" if records is None else f"record {records[i]}" for i in wrong]
    return ", ".join(f"{name} has label {values[i]}" for name, i in zip(names, wrong))
