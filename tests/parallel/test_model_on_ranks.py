"""The whole model on real ranks computes what one rank computes with the whole batch."""

import numpy as np
import pytest

from partial_fc.checkpoint.center_files import load_centers
from partial_fc.distributed.communicator import Communicator
from partial_fc.head.memory_bank import MemoryBank

from helpers.ranks import LAUNCHERS, launch, succeed
from parallel.model_worker import NUM_CLASSES, train
from reference import relative_error


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    train(Communicator(), folder)
    return dict(np.load(folder / "model-0.npz")), centers(folder)


def centers(folder):
    bank = MemoryBank(NUM_CLASSES, 16, Communicator(), seed=1)
    load_centers(folder, bank)
    return bank.weight.asnumpy(), bank.weight_mom.asnumpy()


@pytest.mark.parametrize("launcher, ranks", [(launcher, ranks) for launcher in LAUNCHERS for ranks in (2, 3)])
def test_update_equals_that_of_one_rank(launcher, ranks, tmp_path, one_rank):
    succeed(launch(launcher, ranks, "model_worker.py", tmp_path))
    models = [dict(np.load(tmp_path / f"model-{rank}.npz")) for rank in range(ranks)]
    for name, expected in one_rank[0].items():
        assert relative_error(models[0][name], expected) < 1e-5, name
        assert all(np.array_equal(model[name], models[0][name]) for model in models), name
    for array, expected in zip(centers(tmp_path), one_rank[1]):
        assert relative_error(array, expected) < 1e-5
