"""AdamW of the centers against NumPy in float64, on any number of ranks."""

import mxnet as mx
import numpy as np
import pytest

from partial_fc.checkpoint.center_files import load_centers, save_centers
from partial_fc.distributed.communicator import Communicator
from partial_fc.head.host_bank import HostBank
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterAdamW, CenterSGD
from partial_fc.head.partial_fc import PartialFC

from helpers.problem import LOSSES, Problem
from helpers.shards import Shards
from reference import adamw, relative_error, step

LR, WD, UPDATES = 0.01, 0.3, 4


def steps(problem, comm, sample_ratio, make_bank=MemoryBank, defer=False):
    """Chosen classes of each step, and this rank's centers and moments after the last one."""
    bank = make_bank(problem.num_classes, problem.embedding_size, comm, sample_ratio, None, 7, CenterAdamW.states)
    own = slice(*bank.partition)
    bank.set(bank.partition.class_start, problem.weight[own], *[np.zeros_like(problem.weight[own])] * 2)
    head = PartialFC(bank, MarginSoftmax(*LOSSES["arcface"]), CenterAdamW(WD), comm)
    batch = np.split(np.arange(len(problem.labels)), comm.world_size)[comm.rank]
    chosen = []
    for num_update in range(UPDATES):
        choice = head.choose(problem.labels[batch], num_update)
        head.step(mx.nd.array(problem.embeddings[batch]), choice, LR, defer=defer)
        if defer:
            head.update_centers(LR)
        rows = np.arange(bank.num_local) if choice.rows is None else choice.rows
        chosen.append(rows + bank.partition.class_start)
    return chosen, [array.copy() for array in bank.to_numpy()]


def run(problem, world_size, *arguments):
    chosen, arrays = zip(*Shards(world_size).run(lambda comm: steps(problem, comm, *arguments)))
    return [np.concatenate(each) for each in zip(*chosen)], [np.concatenate(each) for each in zip(*arrays)]


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
@pytest.mark.parametrize("make_bank, defer", [(MemoryBank, False), (HostBank, False), (MemoryBank, True)])
def test_updates_are_those_of_float64(make_bank, defer, sample_ratio, world_size):
    problem = Problem()
    chosen, arrays = run(problem, world_size, sample_ratio, make_bank, defer)
    weight = problem.weight.astype(np.float64)
    mean, var = np.zeros_like(weight), np.zeros_like(weight)
    for num_update, classes in enumerate(chosen):
        grad = step(problem.embeddings, problem.labels, weight, mean, classes, LOSSES["arcface"], LR).grad_weight[
            classes
        ]
        updated = adamw(weight[classes], mean[classes], var[classes], grad, LR, WD, num_update + 1)
        weight[classes], mean[classes], var[classes] = updated
    assert (len(np.unique(np.concatenate(chosen))) < problem.num_classes) == (sample_ratio < 1)
    assert relative_error(arrays[0] - problem.weight, weight - problem.weight) < 1e-4
    # 1 - 0.999 in float32, by which MXNet multiplies, is wrong by 1.3e-5.
    assert relative_error(arrays[1], mean) < 1e-5 and relative_error(arrays[2], var) < 3e-5


def test_centers_that_are_never_chosen_stay_with_their_moments():
    problem = Problem()
    chosen, arrays = run(problem, 2, 0.1)
    others = np.setdiff1d(np.arange(problem.num_classes), np.concatenate(chosen))
    assert len(others) > 10 and np.array_equal(arrays[0][others], problem.weight[others])
    assert not arrays[1][others].any() and not arrays[2][others].any()


def test_a_bank_of_another_optimizer_is_an_error():
    with pytest.raises(ValueError, match="the optimizer keeps .*weight_mean.*, the bank has .*weight_mom"):
        PartialFC(MemoryBank(5, 4, Communicator()), MarginSoftmax(), CenterAdamW(), Communicator())
    with pytest.raises(ValueError, match="3 arrays .* were expected"):
        bank = MemoryBank(5, 4, Communicator(), states=CenterAdamW.states)
        bank.set(0, np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32))


@pytest.mark.parametrize("writers, readers", [(1, 3), (3, 2), (2, 1)])
def test_any_number_of_ranks_reads_the_files(writers, readers, tmp_path):
    problem = Problem()

    def save(comm):
        bank = MemoryBank(101, 24, comm, states=CenterAdamW.states)
        own = slice(*bank.partition)
        bank.set(bank.partition.class_start, problem.weight[own], problem.weight_mom[own], problem.weight_mom[own] ** 2)
        save_centers(str(tmp_path), bank, comm.world_size)

    def load(comm, states=CenterAdamW.states, with_state=True):
        bank = MemoryBank(101, 24, comm, states=states, seed=1)
        bank.set(bank.partition.class_start, *[np.ones((bank.num_local, 24), np.float32)] * (1 + len(states)))
        return load_centers(str(tmp_path), bank, with_state), [array.copy() for array in bank.to_numpy()]

    Shards(writers).run(save)
    results = Shards(readers).run(load)
    arrays = [np.concatenate(each) for each in zip(*(arrays for _, arrays in results))]
    assert all(loaded for loaded, _ in results)
    for array, expected in zip(arrays, (problem.weight, problem.weight_mom, problem.weight_mom**2)):
        assert np.array_equal(array, expected)
    for loaded, arrays in Shards(readers).run(lambda comm: load(comm, CenterSGD.states)):  # of another optimizer
        assert not loaded and len(arrays) == 2 and not arrays[1].any()
    for loaded, arrays in Shards(readers).run(lambda comm: load(comm, with_state=False)):
        assert not loaded and len(arrays) == 3 and not arrays[1].any() and not arrays[2].any()
