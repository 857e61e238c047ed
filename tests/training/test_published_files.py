"""Files by the names of the published code: what they hold, whatever the number of ranks, and when they go."""

import os
from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest

from partial_fc.checkpoint.center_files import save_centers
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.training.published_files import save_published_files

from helpers.shards import Shards


def save(folder, world_size, num_classes, lose=None):
    """Save centers as `world_size` ranks do, and then by their published names; returns all centers and momenta."""
    checkpoint = str(folder / "checkpoint")
    os.makedirs(checkpoint)
    symbol = mx.sym.BatchNorm(mx.sym.Variable("data"), name="bn")
    module = SimpleNamespace(symbol=symbol, arg_params={"bn_gamma": mx.nd.ones(3)})

    def rank(comm):
        bank = MemoryBank(num_classes, 4, comm, seed=1)
        bank.weight_mom[:] = comm.rank + 1
        save_centers(checkpoint, bank, comm.world_size)
        comm.all_gather_object(None)
        if lose is not None and comm.rank == 0:
            os.remove(os.path.join(checkpoint, f"centers-{lose:05d}-of-{world_size:05d}.safetensors"))
        comm.all_gather_object(None)
        save_published_files(str(folder), checkpoint, comm, module, {"bn_moving_mean": mx.nd.array([1, 2, 3])})
        return bank.to_numpy()

    parts = Shards(world_size).run(rank)
    return [np.concatenate(arrays) for arrays in zip(*parts)]


@pytest.mark.parametrize("world_size, num_classes", [(1, 7), (2, 8), (3, 8), (4, 5)])
def test_every_rank_has_its_published_share(world_size, num_classes, tmp_path):
    expected = save(tmp_path, world_size, num_classes)
    num_local = -(-num_classes // world_size)
    for name, whole in zip(("centers", "centers_mom"), expected):
        parts = [mx.nd.load(str(tmp_path / f"{rank}_{name}.param"))[0].asnumpy() for rank in range(world_size)]
        assert all(part.shape == (num_local, 4) for part in parts)
        assert np.array_equal(np.concatenate(parts)[:num_classes], whole)
    average = mx.nd.load(str(tmp_path / "model_average-0000.params"))
    assert average["aux:bn_moving_mean"].asnumpy().tolist() == [1, 2, 3] and "arg:bn_gamma" in average
    assert mx.sym.load(str(tmp_path / "model_average-symbol.json")).list_outputs() == ["bn_output"]


def test_what_cannot_be_written_is_logged(tmp_path, caplog):
    save(tmp_path, 3, 8, lose=2)  # as where the hosts do not share a folder
    assert "rank 2: could not write the files by their published names: " in caplog.text
    assert os.path.exists(tmp_path / "0_centers.param") and not os.path.exists(tmp_path / "2_centers.param")


def test_centers_of_ranks_that_are_no_more_are_removed(tmp_path):
    """A run that continues with fewer ranks would leave files of both numbers, which do not fit together."""
    others = "3_centers.param", "10_centers_mom.param", "3_hist.log", "3d_centers.param"
    for name in others:
        (tmp_path / name).write_text("")
    save(tmp_path, 3, 8)
    assert [name for name in others if (tmp_path / name).exists()] == ["3_hist.log", "3d_centers.param"]
    assert len(list(tmp_path.glob("[0-2]_centers*.param"))) == 6
