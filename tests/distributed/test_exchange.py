"""What may go into a collective."""

import mxnet as mx
import pytest

from partial_fc.distributed.communicator import Communicator
from partial_fc.distributed.exchange import groups
from partial_fc.errors import InputError


@pytest.mark.parametrize(
    "arrays, told",
    [
        ([mx.nd.ones(3)], "must be a dictionary of NDArrays by name, not a list"),
        ({1: mx.nd.ones(3)}, "names of type str, 1 is of type int"),
        ({"a": [1.0]}, "a must be an NDArray, not a list"),
        ({"a": mx.nd.ones((3, 2)).tostype("row_sparse")}, "a is sparse"),
        ({"a": mx.nd.ones(3).astype("bool")}, "a is of bool, which ranks cannot exchange"),
    ],
)
@pytest.mark.parametrize("exchange", ["all_reduce", "broadcast"])
def test_one_rank_refuses_what_many_cannot_exchange(exchange, arrays, told):
    with pytest.raises(InputError, match=told):
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
