"""What may go into a collective."""

import ctypes
import time

import mxnet as mx
import numpy as np
import pytest
from mxnet.base import _LIB, check_call

from partial_fc.distributed.communicator import Communicator
from partial_fc.distributed.exchange import groups, plain
from partial_fc.errors import InputError


@pytest.mark.parametrize(
    "arrays, reported",
    [
        ([mx.nd.ones(3)], "must be a dictionary of NDArrays by name, not a list"),
        ({1: mx.nd.ones(3)}, "names of type str, 1 is of type int"),
        ({"a": [1.0]}, "a must be an NDArray, not a list"),
        ({"a": mx.nd.ones((3, 2)).tostype("row_sparse")}, "a is sparse"),
        ({"a": mx.nd.ones(3).astype("bool")}, "a is of bool, which ranks cannot exchange"),
    ],
)
@pytest.mark.parametrize("exchange", ["all_reduce", "broadcast"])
def test_one_rank_refuses_what_many_cannot_exchange(exchange, arrays, reported):
    with pytest.raises(InputError, match=reported):
        getattr(Communicator(), exchange)(arrays)


def test_arrays_without_dimensions_are_refused_but_not_empty_ones():
    with mx.util.np_shape(True):
        Communicator().all_reduce({"a": mx.np.ones((0, 3))})
        with pytest.raises(InputError, match=r"a has no dimensions: give it the shape \(1,\)"):
            Communicator().all_reduce({"a": mx.np.ones(())})


def test_groups_are_of_one_type_and_of_about_32_megabytes():
    arrays = {f"{kind}{i}": mx.nd.empty((2**22,), dtype=kind) for i in range(5) for kind in ("float32", "float16")}
    found = list(groups(arrays))
    assert sorted(found) == sorted(
        [
            ["float320", "float321"],
            ["float322", "float323"],
            ["float324"],
            ["float160", "float161", "float162", "float163"],
            ["float164"],
        ]
    )


def memory_of(array):
    """View of the memory of a float32 array that is row-major now, whatever layout it is given later."""
    pointer = ctypes.c_void_p()
    check_call(_LIB.MXNDArrayGetData(array.handle, ctypes.byref(pointer)))
    return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), array.shape)


def test_a_rearranged_array_is_row_major_after_the_work_on_it_and_nothing_waits():
    convolution, factor = mx.gluon.nn.Conv2D(32, 3, in_channels=16), mx.nd.ones((1200, 1200))
    convolution.initialize()
    weight = convolution.weight.data()
    values, memory = weight.asnumpy(), memory_of(weight)
    convolution(mx.nd.ones((8, 16, 12, 12))).wait_to_read()
    assert not np.array_equal(memory, values), "the test needs a convolution that rearranges its weight"
    assert plain(weight) is weight
    mx.nd.waitall()
    assert np.array_equal(memory, values)

    start, slow = time.perf_counter(), factor
    for _ in range(10):
        slow = mx.nd.dot(slow, factor) / 1200
    convolution(slow[:96].reshape((-1, 16, 10, 10)))  # rearranges it again, after that
    plain(weight)
    asked = time.perf_counter() - start
    mx.nd.waitall()
    assert np.array_equal(memory, values) and asked < (time.perf_counter() - start) / 2
