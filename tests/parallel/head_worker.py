"""One rank of test_head_on_ranks.py: every case of the head, the collectives, and a label that is wrong on one rank."""

import os
import sys

import mxnet as mx
import numpy as np

from partial_fc.distributed.collectives import connect
from partial_fc.errors import CollectiveError
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.negatives import Negatives
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC

from helpers.problem import LOSSES, Problem


def check_collectives(comm, ctx=None):
    ranks = np.arange(comm.world_size)
    gathered = comm.all_gather(mx.nd.full((2, 3), comm.rank, ctx), name="test_gather").asnumpy()
    assert np.array_equal(gathered, np.repeat(ranks, 2)[:, None] * np.ones(3))
    rows = mx.nd.arange(4 * comm.world_size, ctx=ctx) * (comm.rank + 1)
    scattered = comm.reduce_scatter(rows, name="test_scatter").asnumpy()
    assert np.array_equal(scattered, np.arange(4 * comm.rank, 4 * comm.rank + 4) * (ranks + 1).sum())
    arrays = {"a": mx.nd.full(3, comm.rank, ctx), "b": mx.nd.full((2, 2), 1, ctx)}
    comm.all_reduce(arrays)
    assert (arrays["a"].asnumpy() == ranks.sum()).all() and (arrays["b"].asnumpy() == comm.world_size).all()
    labels = np.array([2**24 + 1, 2**40 + comm.rank], dtype=np.int64)
    assert comm.all_gather_host(labels).tolist() == [x for r in ranks for x in (2**24 + 1, 2**40 + r)]
    values = comm.all_gather_object({"rank": comm.rank, "name": "é" * comm.rank})
    assert values == [{"rank": r, "name": "é" * r} for r in ranks]


def check_bytes_sent(comm):
    others, before = comm.world_size - 1, comm.bytes_sent
    comm.all_gather(mx.nd.zeros((2, 3)), name="test_gather")
    comm.reduce_scatter(mx.nd.zeros(4 * comm.world_size), name="test_scatter")
    comm.all_reduce({"a": mx.nd.zeros(5 * comm.world_size)})
    comm.all_gather_host(np.zeros(2, np.int64))
    assert comm.bytes_sent - before == others * (24 + 16 + 2 * 20 + 16)


def check_broadcast(comm):
    """Also of an array of one number, and twice under one name, with another size."""
    for sizes in [((3,), (2, 2), (1,)), ((1,), (5,))]:
        arrays = {f"test_{index}": mx.nd.full(size, comm.rank + index) for index, size in enumerate(sizes)}
        comm.broadcast(arrays)
        for index, (size, array) in enumerate(zip(sizes, arrays.values())):
            assert np.array_equal(array.asnumpy(), np.full(size, index)), array


def check_layouts_and_types(comm):
    """Arrays that oneDNN has rearranged, views, and many types together."""
    conv, images = mx.gluon.nn.Conv2D(32, 3, in_channels=16), mx.nd.ones((8, 16, 12, 12))
    conv.initialize()
    weight = conv.weight.data()
    for exchange, value in ((comm.broadcast, 1), (comm.all_reduce, sum(range(1, comm.world_size + 1)))):
        weight[:] = comm.rank + 1
        conv(images).wait_to_read()
        exchange({"weight": weight})
        assert (weight.asnumpy() == value).all()
        assert np.allclose(conv(images).asnumpy(), 144 * value, rtol=1e-5)
    assert comm.all_gather(conv(images), name="test_layout").shape[0] == 8 * comm.world_size
    types = ("float16", "float32", "float64", "uint8", "int8", "int32", "int64")
    arrays = {kind: mx.nd.full((2, 3), comm.rank + 1, dtype=kind) for kind in types}
    whole = mx.nd.full((4, 2), comm.rank + 1)
    arrays["view"] = whole[1:3]
    comm.broadcast(arrays)
    assert all((array.asnumpy() == 1).all() for array in arrays.values())
    comm.all_reduce(arrays)
    assert all((array.asnumpy() == comm.world_size).all() for array in arrays.values())
    assert whole[:, 0].asnumpy().tolist() == [comm.rank + 1, comm.world_size, comm.world_size, comm.rank + 1]


def check_wrong_label(comm):
    head = PartialFC(MemoryBank(10, 4, comm), MarginSoftmax(), CenterSGD(), comm)
    labels = [1, 10] if comm.rank == comm.world_size - 1 else [1, 2]
    try:
        head.choose(labels, 0, records=["a", "b"])
    except CollectiveError as error:
        assert str(error).startswith(f"rank {comm.world_size - 1}: record b has label 10, outside [0, 10)"), error
    else:
        raise AssertionError("no error")


def main(folder):
    comm = connect()
    check_collectives(comm)
    check_bytes_sent(comm)
    check_broadcast(comm)
    check_layouts_and_types(comm)
    check_wrong_label(comm)
    part = Problem().step_on(comm, LOSSES["arcface"], 0.3, precision="bfloat16")
    np.savez(os.path.join(folder, f"bfloat16-{comm.rank}.npz"), *part)
    for loss in ("adaface", "arcface"):
        part = Problem().step_on(comm, LOSSES[loss], 0.3, warmup=4, num_update=2)
        np.savez(os.path.join(folder, f"{loss}-warmup-{comm.rank}.npz"), *part)
    for loss, ratio, sub_centers in (("cosface", 1.0, 1), ("arcface", 0.3, 1), ("arcface", 0.3, 3)):
        problem = Problem(batch_size=24, sub_centers=sub_centers)
        part = problem.step_on(comm, LOSSES[loss], ratio, parts=4)
        np.savez(os.path.join(folder, f"{loss}-micro-batches-{sub_centers}-{comm.rank}.npz"), *part)
    for loss, ratio in (("adaface", 1.0), ("arcface", 0.3)):
        part = Problem(sub_centers=3).step_on(comm, LOSSES[loss], ratio)
        np.savez(os.path.join(folder, f"{loss}-sub-centers-{comm.rank}.npz"), *part)
    for mode, ratio in (("exact", 1.0), ("exact", 0.3), ("zero", 0.3)):
        part = Problem(negatives=Negatives(0.4, mode, True)).step_on(comm, LOSSES["arcface"], ratio)
        np.savez(os.path.join(folder, f"{mode}-{ratio}-filtering-{comm.rank}.npz"), *part)
    for loss, margin in LOSSES.items():
        for ratio in (1.0, 0.3):
            for name, problem in (("plain", Problem()), ("saturated", Problem().saturate())):
                part = problem.step_on(comm, margin, ratio)
                np.savez(os.path.join(folder, f"{loss}-{ratio}-{name}-{comm.rank}.npz"), *part)


if __name__ == "__main__":
    main(sys.argv[1])
