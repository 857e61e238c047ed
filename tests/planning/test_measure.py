import dataclasses
import json
import time
from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest

from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run
from partial_fc.distributed.communicator import Communicator
from partial_fc.doctor.programs import Outcome
from partial_fc.errors import InputError
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.limits import threads_of_a_rank
from partial_fc.planning import measure, measure_rank
from partial_fc.planning.cards import CARDS, find_card
from partial_fc.planning.collectives import Cluster
from partial_fc.planning.network import Network
from partial_fc.planning.seconds import our_head, update_parts


@pytest.fixture
def small_layers(monkeypatch):
    monkeypatch.setattr(measure_rank, "_LAYERS", {14: (32, 2)})


def fastest_step(num_classes, batch_size, precision):
    """Seconds of a step of the head on one rank, in the fastest of some rounds, as `_computing` takes them."""
    clock = time.process_time if threads_of_a_rank() == 1 else time.perf_counter
    comm = Communicator()
    head = PartialFC(MemoryBank(num_classes, 512, comm), MarginSoftmax(), CenterSGD(), comm, precision)
    embeddings, labels = mx.nd.random.normal(shape=(batch_size, 512)), np.arange(batch_size)
    seconds = []
    for number in range(8):
        mx.nd.waitall()
        start = clock()
        head.step(embeddings, head.choose(labels, number), 0.1)
        mx.nd.waitall()
        seconds.append(clock() - start)
    return min(seconds)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_small_head_is_predicted(small_layers, precision):
    card = measure_rank.measure(Communicator(), mx.cpu())
    assert (card.device, card.overlaps, card.ranks, card.host_link) == ("cpu", False, 1, 0)
    config = from_command_line(["--dataset", "100w", "--set", "num_classes=12000", "--batch-size", "512"])
    run = Run(config, "", config.num_classes)
    parts = update_parts(run, Network(0, []), Cluster(1, 1, 0), card, precision, our_head(run, precision))
    predicted = sum(parts[name].exposed for name in ("products", "softmax", "casts", "centers") if name in parts)
    assert 0.5 < predicted / fastest_step(12000, 512, precision) < 2


def test_ranks_that_are_more_than_the_cores_take_turns(monkeypatch):
    monkeypatch.setattr(measure_rank, "_seconds", lambda comm, call, clock: 2.0)
    monkeypatch.setattr(measure_rank, "threads_of_a_rank", lambda local_size: 1)
    seconds = []
    for cores in (1, 2, 3, 4):
        monkeypatch.setattr(measure_rank, "usable_cores", lambda cores=cores: cores)
        comm = SimpleNamespace(local_size=3)
        seconds.append(measure_rank._computing(comm, None, mx.cpu()))
    assert seconds == [6.0, 3.0, 2.0, 2.0]


def test_ranks_measure_and_the_card_is_stored(tmp_path, monkeypatch):
    path = str(tmp_path / "folder" / "machine.json")
    monkeypatch.setenv("PARTIAL_FC_MACHINE", path)
    (values,) = measure.measure_machine([2], path)
    card = find_card("here", 2)
    assert json.loads(json.dumps(dataclasses.asdict(card))) == values and card.ranks == 2
    assert set(card.products) == {"float32", "bfloat16"} and set(card.convolutions["float32"]) == {
        *"7 14 28 56 112".split()
    }
    assert all(beta > 0 and alpha >= 0 for alpha, beta in card.links.values())


def test_other_numbers_of_ranks_stay(tmp_path, monkeypatch):
    path = tmp_path / "machine.json"
    old = [dict(dataclasses.asdict(CARDS["cpu"]), ranks=ranks, memory=1) for ranks in (1, 2)]
    path.write_text(json.dumps(old))
    new = dict(old[0], ranks=1, memory=7)
    outcome = Outcome(None, f"noise\n{measure._MARK} {json.dumps(new)}\n", "")
    monkeypatch.setattr(measure, "run", lambda command, timeout: outcome)
    measure.measure_machine([1], str(path))
    assert [(card["ranks"], card["memory"]) for card in json.loads(path.read_text())] == [(1, 7), (2, 1)]


def test_a_file_of_one_card_is_kept_and_a_damaged_one_is_replaced(tmp_path, monkeypatch):
    path = tmp_path / "machine.json"
    card = dict(dataclasses.asdict(CARDS["cpu"]), ranks=2, memory=1)
    path.write_text(json.dumps(card))
    line = f"{measure._MARK} {json.dumps(dict(card, ranks=1))}\n"
    monkeypatch.setattr(measure, "run", lambda command, timeout: Outcome(None, line, ""))
    measure.measure_machine([1], str(path))
    assert [each["ranks"] for each in json.loads(path.read_text())] == [1, 2]
    path.write_text('[{"ranks": 1}]')
    said = []
    measure.measure_machine([1], str(path), said.append)
    assert said[0].startswith(f"{path}: the card lacks name") and said[0].endswith(": the file is replaced")
    assert [each["ranks"] for each in json.loads(path.read_text())] == [1]


def test_ranks_that_fail_are_an_error_with_their_last_lines(tmp_path, monkeypatch):
    outcome = Outcome("ended with status 1", "", "no memory\n--------\n")
    monkeypatch.setattr(measure, "run", lambda command, timeout: outcome)
    with pytest.raises(InputError, match="measuring with 3 ranks: ended with status 1\nno memory$"):
        measure.measure_machine([3], str(tmp_path / "x.json"))


def test_both_files_have_the_same_mark():
    assert measure._MARK == measure_rank.MARK


def test_latency_and_bandwidth_follow_from_two_sizes(monkeypatch):
    comm = Communicator()
    comm.world_size = 3
    seconds = lambda size: 2 * (2 * 1e-3 + size * 2 / 3 / 1e9)  # noqa: E731
    monkeypatch.setattr(measure_rank, "_seconds", lambda comm, call: call)
    alpha, beta = measure_rank._line(comm, seconds, 2**24, 2)
    assert alpha == pytest.approx(1e-3) and beta == pytest.approx(1e9)
