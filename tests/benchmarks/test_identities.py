"""The benchmark of many identities: what it draws, samples and prints."""

import mxnet as mx
import numpy as np
import pytest

from benchmarks import identities, identities_worker
from benchmarks.identities import WAYS, Way
from benchmarks.identities_worker import RandomBank, RandomPartialFC
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.verification_set import load_verification_set
from partial_fc.distributed.communicator import Communicator
from partial_fc.head import bank
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.training import build

from helpers.shards import Shards


def test_draws_records_and_pairs_of_other_people(tmp_path):
    identities.draw(str(tmp_path), identities=7, held_out=5, pairs=40, size=16)
    records, pairs = RecordFile(str(tmp_path / "train.rec")), load_verification_set(str(tmp_path / "heldout.bin"))
    assert np.bincount(records.labels()).tolist() == [5] * 7
    assert len(pairs.issame) == 40 and pairs.issame.sum() == 20
    trained = {records.read(key)[0] for key in records.keys.tolist()}
    assert len(trained) == 35 and not trained & set(pairs.images)
    people = [{each for each in identities._draw_person(16, person)} for person in range(7, 12)]
    person = {image: number for number, images in enumerate(people) for image in images}
    for first, second, same in zip(pairs.images[::2], pairs.images[1::2], pairs.issame):
        assert first != second and (person[first] == person[second]) == same


@pytest.mark.parametrize("world_size", (1, 3))
def test_purely_random_sampling(world_size):
    """Centers are drawn without regard to the batch; a sample without its own is only pushed away from the others."""
    random = np.random.RandomState(0)
    labels, embeddings = np.arange(30), random.randn(30, 8).astype(np.float32)

    def work(comm):
        bank = RandomBank(101, 8, comm, 0.3)
        head = RandomPartialFC(bank, MarginSoftmax(8.0, m3=0.2), CenterSGD(), comm)
        batch = np.split(np.arange(30), world_size)[comm.rank]
        choice = head.choose(labels[batch], 0)
        weight = bank.weight.asnumpy()[choice.rows]
        loss, _ = head.step(mx.nd.array(embeddings[batch]), choice, 0.1)
        return choice.rows + bank.partition.class_start, choice.columns, weight, loss.asscalar()

    rows, columns, weights, losses = zip(*Shards(world_size).run(work))
    chosen, weight = np.concatenate(rows), np.concatenate(weights).astype(float)
    assert len(chosen) == pytest.approx(31, abs=world_size) and len(set(losses)) == 1
    there = np.isin(labels, chosen)
    assert 0 < there.sum() < 20
    assert np.array_equal((np.array(columns) >= 0).any(axis=0), there)
    for own, position in zip(rows, columns):
        assert np.array_equal(own[position[position >= 0]], labels[position >= 0])
    weight /= np.linalg.norm(weight, axis=1, keepdims=True)
    z = 8 * (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)) @ weight.T
    is_own = labels[:, None] == chosen
    others = np.log(np.where(is_own, 0, np.exp(z)).sum(axis=1))
    target = np.where(there, (z * is_own).sum(axis=1) - 8 * 0.2, 0)
    assert losses[0] == pytest.approx(np.logaddexp(0, others - target).mean(), rel=1e-5)


def built():
    """The head of a run, as the trainer builds it."""
    settings = "num_classes=101", "embedding_size=8", "sample_ratio=0.3"
    config = from_command_line([f"--set={each}" for each in settings])
    return build.build(Run(config, "models", 101), Communicator(), mx.cpu()).head


def test_the_trainer_builds_the_head_of_purely_random_sampling(monkeypatch):
    """For as long as the worker trains, and also if the training fails; after that it builds the library's again."""
    heads = []

    def train():
        heads.append(built())
        return 7

    def fail():
        raise KeyboardInterrupt

    monkeypatch.setattr(identities_worker, "main", train)
    assert identities_worker.run() == 7
    (head,) = heads
    assert (type(head), type(head.bank)) == (RandomPartialFC, RandomBank)
    choice = head.choose(np.arange(30), 0)
    there = np.isin(np.arange(30), choice.rows)
    assert len(choice.rows) == 31 and 0 < there.sum() < 20 and np.array_equal(choice.columns >= 0, there)
    monkeypatch.setattr(identities_worker, "main", fail)
    with pytest.raises(KeyboardInterrupt):
        identities_worker.run()
    assert (bank.MemoryBank, build.PartialFC) == (MemoryBank, PartialFC)
    head = built()
    assert (type(head), type(head.bank)) == (PartialFC, MemoryBank)
    assert np.isin(np.arange(30), head.choose(np.arange(30), 0).rows).all()


def case(way, seed, accuracy):
    return dict(way._asdict(), seed=seed, accuracy=accuracy, train_seconds=60.0, images_per_second=4000.0, memory=500)


@pytest.mark.parametrize("count, named", [(1, ["positives kept"]), (0, [])])
def test_plot_of_the_first_trainings(count, named, monkeypatch):
    """Before any with the correction, and before any at all."""
    drawn = []
    monkeypatch.setattr(identities.Figure, "savefig", lambda figure, path, format: drawn.append(figure.axes[0]))
    identities._plot("plot.png", [case(WAYS[0], 0, 0.9)][:count])
    (panel,) = drawn
    assert [text.get_text() for text in panel.get_legend().get_texts()] == named


def test_table_and_verdict(capsys):
    cases = [case(WAYS[0], seed, 0.9 + seed / 100) for seed in range(3)]
    cases += [case(Way(0.1, "positives"), seed, 0.898 + seed / 100) for seed in range(2)]
    cases += [case(Way(0.1, "random"), 0, 0.7)]
    _, rows = identities.table(cases)
    assert [row[:4] for row in rows] == [
        ["1", "all", "91.0% ± 1.0 (3)", ""],
        ["0.1", "positives kept", "90.3% ± 0.7 (2)", "-0.20"],
        ["0.1", "purely random", "70.0% (1)", "-20.00"],
    ]
    assert rows[0][4:] == ["60", "4,000", "500"]
    identities._print_verdict(cases)
    assert "-0.20 points, reached; standard error of the 2 differences 0.00." in capsys.readouterr().out
    identities._print_verdict(cases[:3])  # no seed of both yet
    assert not capsys.readouterr().out
    identities._print_verdict([*cases, case(Way(0.1, "positives"), 2, 0.85)])
    assert "-2.47 points, not reached; standard error of the 3 differences 2.27." in capsys.readouterr().out


def test_every_way_is_trained_with_its_own_settings(monkeypatch, tmp_path, capsys):
    trained = []

    def measure(records, models_root, settings, ratio, seed, **more):
        trained.append((ratio, seed, "sampling_correction=true" in settings, "command" in more))
        return dict(accuracy=0.9, train_seconds=1.0, images_per_second=1.0, memory=1)

    monkeypatch.setattr(identities, "measured_training", measure)
    (tmp_path / "train.rec").touch()
    plot = tmp_path / "plot.png"
    assert identities.main(["--records", str(tmp_path), "--plot", str(plot)]) == 0
    first = [(1.0, 0, False, False), (0.1, 0, False, False), (0.3, 0, False, False), (0.03, 0, False, False)]
    assert trained[:7] == first + [(0.01, 0, False, False), (0.1, 0, False, True), (0.1, 0, True, False)]
    assert len(trained) == len(set(trained)) == 21 and plot.stat().st_size > 5000
    assert len(capsys.readouterr().out.splitlines()) == 2 + 7 + 2
