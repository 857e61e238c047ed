"""The whole model on real ranks computes what one rank computes with the whole batch."""

import numpy as np
import pytest

from partial_fc.checkpoint.center_files import load_centers
from partial_fc.distributed.communicator import Communicator
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterAdamW, CenterSGD

from helpers.ranks import LAUNCHERS, launch, succeed
from parallel.model_worker import LARS, NUM_CLASSES, RULE, train
from reference import relative_error


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    train(Communicator(), folder)
    return dict(np.load(folder / "model-0.npz")), centers(folder)


@pytest.fixture(scope="module")
def one_rank_of_adamw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adamw")
    train(Communicator(), folder, optimizer=CenterAdamW, rule=RULE, lr=(0.001, 0.002))
    return dict(np.load(folder / "model-0.npz")), centers(folder, CenterAdamW)


@pytest.fixture(scope="module")
def one_rank_of_lars(tmp_path_factory):
    """Without micro-batches, which the others have."""
    folder = tmp_path_factory.mktemp("lars")
    train(Communicator(), folder, rule=LARS, lr=(5.0, 0.2))
    return dict(np.load(folder / "model-0.npz")), centers(folder)


def centers(folder, optimizer=CenterSGD):
    bank = MemoryBank(NUM_CLASSES, 16, Communicator(), seed=1, states=optimizer.states)
    assert load_centers(folder, bank)
    return [array.copy() for array in bank.to_numpy()]


@pytest.mark.parametrize("launcher, ranks", [(launcher, ranks) for launcher in LAUNCHERS for ranks in (2, 3)])
def test_update_equals_that_of_one_rank(launcher, ranks, tmp_path, one_rank, one_rank_of_adamw, one_rank_of_lars):
    """Also with AdamW for both, clipping, a frozen layer and factors: there, tiny gradients have large steps.

    The norms that are limited are among what is compared. And two micro-batches with LARS equal one batch.
    """
    assert (one_rank_of_adamw[0]["norms"] > RULE.clip_gradient_norm).all()
    succeed(launch(launcher, ranks, "model_worker.py", tmp_path))
    for folder, optimizer, (model, arrays), bound in (
        (tmp_path, CenterSGD, one_rank, 1e-5),
        (tmp_path / "adamw", CenterAdamW, one_rank_of_adamw, 1e-4),
        (tmp_path / "micro-batches", CenterSGD, one_rank_of_lars, 1e-5),
    ):
        models = [dict(np.load(folder / f"model-{rank}.npz")) for rank in range(ranks)]
        for name, expected in model.items():
            assert relative_error(models[0][name], expected) < bound, name
            assert all(np.array_equal(each[name], models[0][name]) for each in models), name
        for array, expected in zip(centers(folder, optimizer), arrays):
            assert relative_error(array, expected) < bound
