import csv
import logging
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from partial_fc.errors import CollectiveError
from partial_fc.eval.protocols.verification import pixel_embeddings
from partial_fc.training.callbacks import LossLog, Periodic, TensorBoard, Verification
from partial_fc.training.module import UpdateStats

from helpers.measurements import Board, Ranks, loss_log, read_by_tensorboard, reports


@pytest.fixture(autouse=True)
def log_level(caplog):
    caplog.set_level(logging.INFO, logger="partial_fc")


def lines(caplog):
    return [record.getMessage() for record in caplog.records]


def test_every_loss_is_written_with_all_digits_of_a_float32(tmp_path):
    random = np.random.RandomState(0)
    losses = (random.rand(200) * 10.0 ** random.randint(-20, 20, 200)).astype(np.float32)
    with loss_log(tmp_path, max_update=200) as log:
        for report in reports(map(float, losses)):
            log(report)
    with open(tmp_path / "losses.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["num_update", "loss"]
    assert [int(row[0]) for row in rows[1:]] == list(range(1, 201))
    assert np.array_equal(np.array([row[1] for row in rows[1:]]).astype(np.float32), losses)


def test_other_ranks_write_nothing(tmp_path):
    with loss_log(tmp_path, rank=1) as log:
        for report in reports([1.0] * 10):
            log(report)
    assert os.listdir(tmp_path) == []
    assert log.images_per_second == pytest.approx(12)


def test_images_per_second_after_a_resume_are_those_of_this_run(tmp_path):
    before = UpdateStats(1, 9.0, 100.0), UpdateStats(50, 2.0, 1000.0)
    with LossLog(str(tmp_path), lambda _: (0.1, 0.1), 10, 60, 6, Ranks(0, 0.0), Board(), *before) as log:
        assert log.images_per_second == 0
        for number in range(51, 54):
            log(UpdateStats(number, 1.0, 1000.0 + 2 * (number - 50)))
    assert log.images_per_second == pytest.approx(6 * 2 / 4) and log.first == before[0]


def test_images_per_second_leave_out_the_first_update(tmp_path):
    with loss_log(tmp_path) as log:
        log(UpdateStats(1, 5.0, 100.0))
        assert log.images_per_second == 0  # nothing to tell yet
        log(UpdateStats(2, 4.0, 101.0))
        assert log.images_per_second == pytest.approx(6)
        log(UpdateStats(3, 3.0, 104.0))
        assert log.images_per_second == pytest.approx(6 * 2 / 4)
    assert log.first == UpdateStats(1, 5.0, 100.0) and log.last == UpdateStats(3, 3.0, 104.0)


def test_lines_of_the_log_and_scalars(tmp_path, caplog):
    board = Board()
    with loss_log(tmp_path, board=board) as log:
        for number, seconds in enumerate(np.cumsum([1, 1, 1, 1, 3, 3, 3, 3, 0.5, 0.5]), start=1):
            log(UpdateStats(number, number / 3, float(seconds)))
    assert lines(caplog) == [
        "update 4/10  loss 1.3333  lr 0.1  6 images/s  0:00:06 left",
        "update 8/10  loss 2.6667  lr 0.01  2 images/s  0:00:06 left",
        "update 10/10  loss 3.3333  lr 0.01  12 images/s  0:00:00 left",
    ]
    assert board.added == [
        (4, "loss", 4 / 3),
        (4, "lr", 0.1),
        (4, "images_per_second", 6),
        (8, "loss", 8 / 3),
        (8, "lr", 0.01),
        (8, "images_per_second", 2),
        (10, "loss", 10 / 3),
        (10, "lr", 0.01),
        (10, "images_per_second", 12),
    ]


def test_filtered_logits_are_logged(tmp_path, caplog):
    board = Board()
    with loss_log(tmp_path, frequent=1, max_update=1, board=board) as log:
        log(UpdateStats(1, 1.0, 1.0, filtered=1234567.0))
    assert "loss 1.0000  filtered 1234567  lr 0.1" in lines(caplog)[0]
    assert (1, "filtered", 1234567) in board.added


def test_loss_scale_and_skipped_updates_are_logged(tmp_path, caplog):
    board, scale = Board(), dict(scale=2.0**15, skipped=3, since=7)
    with loss_log(tmp_path, frequent=1, max_update=1, board=board) as log:
        log(UpdateStats(1, 1.0, 1.0, loss_scale=scale, grad_norm=2.5))
    assert "loss 1.0000  gradient norm 2.5  loss scale 32768  skipped 3  lr 0.1" in lines(caplog)[0]
    assert {(1, "loss_scale", 2.0**15), (1, "skipped_updates", 3)} <= set(board.added)


@pytest.mark.parametrize(
    "own, other, reported",
    [
        (0.04, 0.0, ""),
        (0.1, 0.5, "  rank 1 waited for images 25% of the time: try --set num_workers=N"),
        (1.0, 0.5, "  rank 0 waited for images 50% of the time: try --set num_workers=N"),
    ],
)
def test_waiting_for_images_is_reported(tmp_path, caplog, own, other, reported):
    with loss_log(tmp_path, frequent=2, max_update=2, other_waited=other) as log:
        log(UpdateStats(1, 1.0, 1.0))
        log(UpdateStats(2, 1.0, 3.0, own))
    assert lines(caplog) == ["update 2/2  loss 1.0000  lr 0.1  3 images/s  0:00:00 left" + reported]


def test_the_first_update_of_a_start_does_not_count_for_the_time_left(tmp_path, caplog):
    before = UpdateStats(1, 9.0, 100.0), UpdateStats(50, 2.0, 1000.0)
    with LossLog(str(tmp_path), lambda _: (0.1, 0.1), 4, 60, 6, Ranks(0, 0.0), Board(), *before) as log:
        for number in range(51, 57):
            log(UpdateStats(number, 1.0, 1060.0 + 2 * (number - 51)))
    shown = [line.split("  ")[-2:] for line in lines(caplog)]
    assert shown == [["3 images/s", "0:00:16 left"], ["3 images/s", "0:00:08 left"]]


def test_losses_are_in_the_file_whenever_a_line_is_logged(tmp_path):
    with loss_log(tmp_path, frequent=2) as log:
        for report in reports([1.0, 2.0, 3.0]):
            log(report)
        assert len((tmp_path / "losses.csv").read_text().splitlines()) >= 3


@pytest.mark.parametrize("whole", [True, False])
def test_losses_are_written_anew_where_somebody_has_removed_them(whole, tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    with loss_log(folder, frequent=1) as log:
        for report in reports([1.0, 2.0, 3.0, 4.0]):
            log(report)
            if report.num_update in (2, 4):
                shutil.rmtree(folder) if whole else os.remove(folder / "losses.csv")
            elif report.num_update == 3:
                assert (folder / "losses.csv").read_text().split() == ["num_update,loss", "1,1", "2,2", "3,3"]
    assert (folder / "losses.csv").read_text().split() == ["num_update,loss", "1,1", "2,2", "3,3", "4,4"]


class Module:
    """Embeds by pixels; counts what it is asked for."""

    batch_size = 3
    comm = SimpleNamespace(world_size=2)

    def __init__(self):
        self.events = []

    def average_statistics(self):
        self.events.append("average")

    def embed(self, images):
        self.events.append(len(images))
        return pixel_embeddings(images)


def pairs(agree, num_pairs=30):
    """Images of black and white halves, and issame, which is right for `agree` of the pairs."""
    issame = np.arange(num_pairs) % 2 == 0
    images = np.zeros((2 * num_pairs, 4, 4, 3), np.uint8)
    images[:, :2] = 255
    shown_same = issame.copy()
    shown_same[agree:] = ~issame[agree:]
    images[1::2][~shown_same] = 255 - images[1::2][~shown_same]
    return images, issame


@pytest.mark.parametrize(
    "interval, max_update, expected", [(3, 10, [3, 6, 9, 10]), (5, 10, [5, 10]), (20, 10, [10]), (1, 3, [1, 2, 3])]
)
def test_periodic_acts_every_few_updates_and_at_the_end(interval, max_update, expected):
    done = []
    periodic = Periodic(done.append, interval, max_update)
    for report in reports([1.0] * max_update):
        periodic(report)
    assert done == expected


def test_accuracies_by_name(caplog):
    module, board = Module(), Board()
    sets = {"good": pairs(30), "bad": pairs(0)}
    verification = Verification(module, sets, board)
    accuracies = verification.measure(7)
    assert accuracies["good"] == 1 and accuracies["bad"] < 0.6 and list(accuracies) == ["good", "bad"]
    assert verification.history == [(7, accuracies)]
    assert lines(caplog)[0] == "update 7  good: accuracy 1.0000 +- 0.0000, best 1.0000 at update 7"
    assert "bad: accuracy" in lines(caplog)[1]
    assert board.added == [(7, "accuracy/good", 1), (7, "accuracy/bad", accuracies["bad"])]
    # Statistics are averaged before anything is embedded; a batch is one image for each place on each rank, times two.
    assert module.events[0] == "average" and module.events.count("average") == 1
    assert max(module.events[1:]) == 2 * 3 * 2 and sum(module.events[1:]) == 2 * 2 * 60


def test_best_accuracy_is_kept(caplog):
    images = {"rises": pairs(30), "falls": pairs(30)}
    verification = Verification(Module(), images, Board())
    for num_update, (rises, falls) in enumerate([(24, 30), (30, 24), (30, 30)]):
        images.update(rises=pairs(rises), falls=pairs(falls))
        verification.measure(num_update)
    assert verification.best == {"rises": (1, 1), "falls": (1, 0)}
    assert lines(caplog)[3].endswith("best 1.0000 at update 0") and " accuracy 1.0000" not in lines(caplog)[3]


def test_deep_networks_that_are_untrained_have_no_accuracy(caplog):
    """Batch normalizations without statistics let the numbers of r100 grow beyond those of float32."""

    class Untrained(Module):
        def embed(self, images):
            return np.full((len(images), 4), np.inf, np.float32)

    verification = Verification(Untrained(), {"val": pairs(30)}, Board())
    assert verification.measure(0) == {} and verification.history == [(0, {})] and not verification.complete
    assert lines(caplog) == ["update 0  val: no accuracy, as embeddings of this untrained network are not finite"]
    with pytest.raises(CollectiveError, match="update 5, val: the embedding of image 0 is not finite; try a smaller"):
        verification.measure(5)


def test_without_sets():
    verification = Verification(Module(), {}, Board())
    assert verification.measure(0) == {} and verification.history == [(0, {})] and verification.best == {}


def test_tensorboard_reads_the_scalars_of_the_last_run(tmp_path):
    with TensorBoard(str(tmp_path), 0) as board:
        board.add(3, {"loss": 9.0})
    (old,) = tmp_path.glob("events.out.tfevents.*")
    old.rename(str(old) + ".1")  # as if it were of another second or host
    with TensorBoard(str(tmp_path), 0) as board:
        board.add(10, {"loss": 1.5, "lr": 0.1})
        board.add(2**33, {"accuracy/lfw": 0.75})
        read = read_by_tensorboard(tmp_path)  # while the run goes on
    assert len(os.listdir(tmp_path)) == 1
    assert read == {"loss": [[10, 1.5]], "lr": [[10, pytest.approx(0.1)]], "accuracy/lfw": [[2**33, 0.75]]}


def test_tensorboard_writes_its_file_anew_where_somebody_has_removed_it(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    with TensorBoard(str(folder), 0) as board:
        board.add(1, {"loss": 1.5})
        shutil.rmtree(folder)
        board.add(2, {"loss": 2.5})
        assert read_by_tensorboard(folder) == {"loss": [[1, 1.5], [2, 2.5]]}


def test_tensorboard_of_other_ranks_leaves_files_alone(tmp_path):
    (tmp_path / "events.out.tfevents.1").write_text("rank 0")
    with TensorBoard(str(tmp_path), 1) as board:
        board.add(10, {"loss": 1.5})
    assert os.listdir(tmp_path) == ["events.out.tfevents.1"]


def test_tensorboard_that_cannot_be_written_fails_at_once(tmp_path):
    folder = str(tmp_path / "nowhere")
    TensorBoard(folder, 1)
    with pytest.raises(OSError, match=folder):
        TensorBoard(folder, 0)
