"""Banks on the host and in files give what a bank on the device gives, bit for bit."""

import os

import mxnet as mx
import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.head.host_arrays import file_array
from partial_fc.head.host_bank import HostBank
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.head.workspace import Workspace

from helpers.shards import Shards

WORKSPACE = Workspace(mx.cpu())
NUM_CLASSES, EMBEDDING_SIZE, BATCH_SIZE, STEPS = 101, 8, 6, 7


def labels(num_update, rank):
    """Some of them are the same in consecutive steps."""
    return np.random.RandomState(num_update).randint(0, NUM_CLASSES, 12).reshape(2, -1)[rank] // (1 + num_update % 2)


def run(make, world_size, sample_ratio, ahead=0, inspect=()):
    """Losses and centers of all ranks after some steps, with labels known so many steps ahead."""

    def work(comm):
        bank = make(NUM_CLASSES, EMBEDDING_SIZE, comm, sample_ratio)
        head = PartialFC(bank, MarginSoftmax(32, m2=0.3), CenterSGD(), comm)
        choices, results = {}, []
        for num_update in range(STEPS):
            for known in range(num_update, num_update + ahead + 1):
                if known not in choices:
                    choices[known] = head.choose(labels(known, comm.rank), known)
            embeddings = np.random.RandomState(10 * num_update + comm.rank).randn(BATCH_SIZE, EMBEDDING_SIZE)
            loss, _ = head.step(mx.nd.array(embeddings), choices[num_update], lr=0.5)
            results.append(loss.asnumpy())
            if num_update in inspect:
                results += [array.copy() for array in bank.to_numpy()]
        return results + list(bank.to_numpy())

    return Shards(world_size).run(work)


def assert_equal(result, expected):
    for arrays, expected_arrays in zip(result, expected):
        assert len(arrays) == len(expected_arrays)
        assert all(np.array_equal(*pair) for pair in zip(arrays, expected_arrays))


@pytest.mark.parametrize("world_size, sample_ratio", [(1, 1.0), (1, 0.3), (2, 0.1), (2, 0.7), (2, 1.0)])
@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_bits_of_the_bank_on_the_device(world_size, sample_ratio, ahead):
    assert_equal(run(HostBank, world_size, sample_ratio, ahead), run(MemoryBank, world_size, sample_ratio))


@pytest.mark.parametrize("sample_ratio", [0.3, 1.0])
def test_bits_in_files_also_when_looked_at_between_steps(sample_ratio, tmp_path):
    def in_files(*args):
        return HostBank(*args, folder=str(tmp_path / "bank"))

    inspect = (0, 3, 4)
    assert_equal(run(in_files, 2, sample_ratio, inspect=inspect), run(MemoryBank, 2, sample_ratio, inspect=inspect))
    assert os.listdir(tmp_path / "bank") == []


@pytest.mark.parametrize("sample_ratio", [0.3, 1.0])
@pytest.mark.parametrize("parts", [1, 2])
def test_next_rows_are_chosen_before_the_centers_are_updated(parts, sample_ratio):
    def work(make):
        def steps(comm):
            bank = make(NUM_CLASSES, EMBEDDING_SIZE, comm, sample_ratio)
            head = PartialFC(bank, MarginSoftmax(32, m2=0.3), CenterSGD(), comm)
            following, losses = head.choose(labels(0, comm.rank), 0), []
            for num_update in range(STEPS):
                *first, last = following.micro_batches(parts)
                embeddings = np.random.RandomState(10 * num_update + comm.rank).randn(BATCH_SIZE, EMBEDDING_SIZE)
                *first_embeddings, last_embeddings = map(mx.nd.array, np.split(embeddings, parts))
                for pair in zip(first_embeddings, first):
                    head.step(*pair, lr=0.5)
                    following = head.choose(labels(num_update + 1, comm.rank), num_update + 1)
                losses.append(head.step(last_embeddings, last, lr=0.5, defer=True)[0].asnumpy())
                if parts == 1:
                    following = head.choose(labels(num_update + 1, comm.rank), num_update + 1)
                head.update_centers(0.5)
            return losses + list(bank.to_numpy())

        return Shards(2).run(steps)

    assert_equal(work(HostBank), work(MemoryBank))


@pytest.mark.parametrize("sample_ratio", [0.3, 1.0])
def test_bits_when_looked_at_within_an_update(sample_ratio):
    def work(make):
        def steps(comm):
            bank = make(NUM_CLASSES, EMBEDDING_SIZE, comm, sample_ratio)
            head, seen = PartialFC(bank, MarginSoftmax(32, m2=0.3), CenterSGD(), comm), []
            for num_update in range(STEPS):
                choice = head.choose(labels(num_update, comm.rank), num_update)
                for part in choice.micro_batches(2):
                    seen += [array.copy() for array in bank.to_numpy()]
                    head.step(mx.nd.ones((BATCH_SIZE // 2, EMBEDDING_SIZE)), part, lr=0.5)
            return seen + list(bank.to_numpy())

        return Shards(2).run(steps)

    assert_equal(work(HostBank), work(MemoryBank))


def test_centers_that_do_not_change_are_not_written_back(monkeypatch):
    monkeypatch.setattr(HostBank, "_write_back", None)

    def work(make):
        def steps(comm):
            head = PartialFC(make(NUM_CLASSES, EMBEDDING_SIZE, comm, 0.3), MarginSoftmax(), None, comm)
            embeddings, losses = mx.nd.ones((BATCH_SIZE, EMBEDDING_SIZE)), []
            for num_update in range(STEPS):
                choice = head.choose(labels(num_update, comm.rank), num_update)
                losses.append(head.step(embeddings, choice, lr=0.5)[0].asnumpy())
            return losses + list(head.bank.to_numpy())

        return Shards(2).run(steps)

    assert_equal(work(HostBank), work(MemoryBank))


def test_steps_change_the_bank():
    first, last = (run(MemoryBank, 1, 0.3, inspect=(0,))[0][place] for place in (1, -2))
    assert (first != last).any(axis=1).sum() > 30


def test_set_between_steps():
    results = []
    for make in (MemoryBank, HostBank):
        bank = make(10, 4, Shards(1).run(lambda comm: comm)[0], 0.5)
        for rows in (np.array([1, 3, 9]), np.array([1, 4])):
            bank.prefetch(rows)
            bank.set(3, np.full((2, 4), 7, np.float32), np.full((2, 4), 8, np.float32))
            centers = bank.get(rows)
            for block in centers.blocks():
                weight, (weight_mom,) = centers.weight(block, WORKSPACE), centers.states(block, WORKSPACE)
                weight += 1
                weight_mom += weight
                centers.put(block, weight, weight_mom)
        results.append([array.copy() for array in bank.to_numpy()])
        assert results[-1][0][:, 0].round().tolist() == [0, 2, 0, 7, 8, 0, 0, 0, 0, 1]
    assert_equal(results[1:], results[:1])


def test_rows_that_were_not_announced():
    bank = HostBank(10, 4, Shards(1).run(lambda comm: comm)[0], 0.5)
    bank.set(0, np.zeros((10, 4), np.float32), np.zeros((10, 4), np.float32))
    for rows in (np.array([1, 3]), np.array([3, 4]), np.array([1, 4])):
        centers = bank.get(rows)
        (block,) = centers.blocks()
        weight = centers.weight(block, WORKSPACE)
        weight += 1
        centers.put(block, weight, *centers.states(block, WORKSPACE))
    assert bank.to_numpy()[0][:5, 2].tolist() == [0, 2, 0, 2, 2]


def test_more_ranks_than_classes():
    assert_equal(run_few(HostBank), run_few(MemoryBank))


def run_few(make):
    def work(comm):
        bank = make(2, 4, comm, 0.5)
        head = PartialFC(bank, MarginSoftmax(), CenterSGD(), comm)
        embeddings = mx.nd.array(np.random.RandomState(comm.rank).randn(2, 4))
        return [head.step(embeddings, head.choose([0, 1], n), 0.1)[0].asnumpy() for n in range(3)]

    return Shards(3).run(work)


def test_folder_without_room_is_an_error_that_says_so(tmp_path):
    with pytest.raises(InputError, match=r"/.*: no room for 1048576\.0 GiB of centers, [\d.]+ GiB are free"):
        file_array(str(tmp_path), 2**45, 8)
    assert os.listdir(tmp_path) == []


def test_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"{tmp_path}/file: no room"):
        file_array(str(tmp_path / "file"), 10, 8)
