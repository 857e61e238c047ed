from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest

from partial_fc.head import memory_bank
from partial_fc.head.host_arrays import memory_array
from partial_fc.head.memory_bank import Centers, MemoryBank, fill_initial_centers
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.workspace import Workspace

WORKSPACE = Workspace(mx.cpu())


def bank(num_classes, world_size=1, rank=0, sample_ratio=1.0, seed=0):
    return MemoryBank(num_classes, 8, SimpleNamespace(rank=rank, world_size=world_size), sample_ratio, seed=seed)


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_initial_centers_do_not_depend_on_the_ranks(world_size):
    # More classes than one block of the generator, and shards that begin within blocks.
    parts = [bank(10007, world_size, rank).weight.asnumpy() for rank in range(world_size)]
    assert np.array_equal(np.concatenate(parts), bank(10007).weight.asnumpy())


def test_initial_centers_of_another_device(monkeypatch):
    monkeypatch.setattr(memory_bank, "_UPLOAD", 3000)
    comm = SimpleNamespace(rank=1, world_size=2)
    other = MemoryBank(20001, 8, comm, ctx=mx.Context("cpu_shared", 0))  # of the host, too, but not its own memory
    for array, expected in zip(other.to_numpy(), MemoryBank(20001, 8, comm).to_numpy()):
        assert np.array_equal(array, expected)


def initial_centers(num_classes, embedding_size, seed):
    centers = memory_array(num_classes, embedding_size)
    fill_initial_centers(centers, 0, seed)
    return centers


def test_initial_centers():
    centers = initial_centers(9000, 64, seed=0)
    assert centers.dtype == np.float32
    assert centers.std() == pytest.approx(0.01, rel=0.01) and abs(centers.mean()) < 1e-4
    assert len(np.unique(centers[:, 0])) > 8900
    assert not np.array_equal(centers, initial_centers(9000, 64, seed=1))
    assert not bank(10).weight_mom.asnumpy().any()


# 4 MB make a block: rows of 2**18 numbers give blocks of 4.
@pytest.mark.parametrize("rows", [None, [3], [0, 2, 4, 6], [1, 2, 3, 7, 10], list(range(1, 11))])
def test_centers_are_worked_on_in_blocks(rows):
    weight = np.arange(11, dtype=np.float32)[:, None] * np.ones((1, 2**18), np.float32)
    arrays = mx.nd.array(weight), mx.nd.array(-weight)
    centers = Centers(arrays, None if rows is None else np.array(rows))
    chosen = np.arange(11) if rows is None else np.array(rows)
    assert len(centers) == len(chosen)
    seen = []
    for block in centers.blocks():
        block_weight, (block_mom,) = centers.weight(block, WORKSPACE), centers.states(block, WORKSPACE)
        assert len(block_weight) <= 4 and np.array_equal(block_weight.asnumpy(), -block_mom.asnumpy())
        seen += block_weight[:, 7].asnumpy().tolist()
        block_weight += 100
        block_mom += 1000
        centers.put(block, block_weight, block_mom)
    assert seen == chosen.tolist()
    weight_mom = -weight
    weight[chosen] += 100
    weight_mom[chosen] += 1000
    assert np.array_equal(arrays[0].asnumpy(), weight) and np.array_equal(arrays[1].asnumpy(), weight_mom)


def test_rows_and_the_whole_shard():
    full, rows = bank(101), np.array([3, 50, 100])
    assert np.array_equal(full.get().weight(slice(0, 101), WORKSPACE).asnumpy(), full.weight.asnumpy())
    assert np.array_equal(full.get(rows).weight(slice(0, 3), WORKSPACE).asnumpy(), full.weight.asnumpy()[rows])


def test_sample():
    assert bank(101).sample(np.array([3, -1]), 0) is None
    sampled = bank(101, sample_ratio=0.1)
    rows = sampled.sample(np.array([3, -1, 77, 3]), 5)
    assert {3, 77} <= set(rows) and len(rows) == 11
    assert rows.tolist() == sampled.sample(np.array([3, -1, 77, 3]), 5).tolist()
    assert rows.tolist() != sampled.sample(np.array([3, -1, 77, 3]), 6).tolist()


def test_set_and_what_does_not_fit():
    third = bank(101, 3, 1)
    start, end = third.partition
    values = np.arange(16, dtype=np.float32).reshape(2, 8)
    third.set(start + 1, values, -values)
    assert np.array_equal(third.weight.asnumpy()[1:3], values)
    assert np.array_equal(third.weight_mom.asnumpy()[1:3], -values)
    for arguments in [(start - 1, values, values), (end - 1, values, values), (start, values, values[:1])]:
        with pytest.raises(ValueError):
            third.set(*arguments)


@pytest.mark.parametrize("ratio", [0, -0.1, 1.01, float("nan")])
def test_share_out_of_range(ratio):
    with pytest.raises(ValueError, match="sample_ratio"):
        bank(10, sample_ratio=ratio)


def test_update_is_sgd_with_momentum():
    random = np.random.RandomState(0)
    weight, weight_mom, grad = (random.randn(3, 8).astype(np.float32) for _ in range(3))
    expected_mom = 0.8 * weight_mom - 0.1 * (grad + 0.01 * weight)
    arrays = mx.nd.array(weight), mx.nd.array(weight_mom)
    CenterSGD(momentum=0.8, wd=0.01).update(*arrays, mx.nd.array(grad), lr=0.1)
    np.testing.assert_allclose(arrays[0].asnumpy(), weight + expected_mom, rtol=1e-5)
    np.testing.assert_allclose(arrays[1].asnumpy(), expected_mom, rtol=1e-5)
