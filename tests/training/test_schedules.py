import math
from fractions import Fraction

import mxnet as mx
import pytest

from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run
from partial_fc.errors import InputError
from partial_fc.training.schedules import Done, Timeline, multi_step

NUM_IMAGES = 1010


def timeline(assignments, batch=10, done=None, num_images=NUM_IMAGES):
    base = "backbone_lr=0.2 memory_bank_lr=0.3 max_update=100 lr_steps=".split()
    config = from_command_line([f"--set={each}" for each in (*base, *assignments.split())])
    return Timeline(Run(config, "models", 7, num_images), batch, done or Done())


def rates(made):
    """Learning rate of the backbone in every update; that of the centers must be in proportion."""
    both = [made.schedule(update) for update in range(made.max_update)]
    assert [centers for _, centers in both] == pytest.approx([1.5 * backbone for backbone, _ in both], rel=1e-12)
    return [backbone for backbone, _ in both]


@pytest.mark.parametrize("num_update, rate", [(0, 1), (9, 1), (10, 0.5), (19, 0.5), (20, 0.25), (10**9, 0.25)])
def test_rate_falls_at_the_steps(num_update, rate):
    assert multi_step(num_update, [10, 20], 0.5) == rate


def test_steps_may_be_missing_or_repeated():
    assert multi_step(1000, [], 0.5) == 1
    assert multi_step(10, [10, 10], 0.5) == 0.25


def test_steps_are_those_of_mxnet():
    steps = [3, 5, 9]
    scheduler = mx.lr_scheduler.MultiFactorScheduler(steps, factor=0.1, base_lr=0.5)
    for num_update in range(12):
        assert 0.5 * multi_step(num_update, steps, 0.1) == pytest.approx(scheduler(num_update + 1))  # counts from 1


@pytest.mark.parametrize("power", [1, 2, 0.5])
@pytest.mark.parametrize("warmup", [0, 1, 7, 99])
def test_poly_is_the_published_formula_at_every_update(warmup, power):
    """The steps of arcface_torch's PolynomialLRWarmup: each rate after the warm-up follows from the one before."""
    rate, expected, total = 0.2, [], 100
    for step in range(total):
        if step <= warmup:
            rate = 0.2 * step / warmup if warmup else 0.2
        else:
            rate *= ((1 - (step - warmup) / (total - warmup)) / (1 - (step - 1 - warmup) / (total - warmup))) ** power
        expected.append(rate)
    made = timeline(f"lr_schedule=poly warmup_updates={warmup} lr_power={power}")
    assert rates(made) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("warmup", [0, 20])
def test_cosine_falls_by_half_a_period(warmup):
    expected = [0.2 * update / warmup for update in range(warmup)]
    expected += [0.1 + 0.1 * math.cos(math.pi * update / (100 - warmup)) for update in range(100 - warmup)]
    assert rates(timeline(f"lr_schedule=cosine warmup_updates={warmup}")) == pytest.approx(expected, rel=1e-12)


def test_multi_step_after_a_warm_up():
    expected = [0.2 * update / 5 for update in range(5)] + 35 * [0.2] + 60 * [0.1]
    made = timeline("warmup_updates=5 lr_steps=40 lr_factor=0.5")
    assert rates(made) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("last_batch, epoch", [("drop", 5), ("pad", 6)])
def test_epochs_are_the_updates_in_which_all_images_are_seen(last_batch, epoch):
    text = f"max_epochs=8 lr_steps=3e,5.5e warmup_updates=0.4e lr_factor=0.5 last_batch={last_batch}"
    made, same = (
        timeline(text, batch=200),
        timeline(
            f"max_update={8 * epoch} lr_steps={3 * epoch},{round(5.5 * epoch)} warmup_updates=2 lr_factor=0.5",
            batch=200,
        ),
    )
    assert made.max_update == 8 * epoch and rates(made) == rates(same)


@pytest.mark.parametrize(
    "assignments, message",
    [
        ("warmup_updates=100", "warmup_updates=100: must be shorter than the training, 100 updates"),
        ("warmup_updates=3e max_epochs=2", "warmup_updates=3e: must be shorter than the training, 202 updates"),
    ],
)
def test_a_warm_up_that_does_not_end_is_refused(assignments, message):
    with pytest.raises(InputError, match=message):
        timeline(assignments)


@pytest.mark.parametrize("key", ["max_epochs=2", "lr_steps=1e", "warmup_updates=1e"])
def test_noise_has_no_epochs(key):
    with pytest.raises(InputError, match=f"^{key.split('=')[0]}: synthetic images have no epochs"):
        timeline(key, num_images=0)


@pytest.mark.parametrize("schedule", ["multistep", "poly", "cosine"])
@pytest.mark.parametrize("batch", [5, 10, 20, 7, 33])
def test_a_schedule_of_images_stays_in_place_when_the_batch_changes(batch, schedule):
    text = f"lr_unit=images lr_schedule={schedule} lr_steps=50,80 warmup_updates=5"
    before = timeline(text)
    made = timeline(text, batch, Done(30, 300, 10))
    assert made.max_update == 30 + math.ceil(Fraction(700, batch))
    for update in range(30, made.max_update):
        place = Fraction(300 + (update - 30) * batch, 10)
        low, high = (before.schedule(math.floor(place))[0], before.schedule(math.ceil(place))[0])
        assert high - 1e-15 <= made.schedule(update)[0] <= low + 1e-15
    assert [made.schedule(update) for update in range(31)] == [before.schedule(update) for update in range(31)]


def test_images_are_counted_over_all_starts():
    second = timeline("lr_unit=images", 5, Done(30, 300, 10))
    assert second.max_update == 170 and [second.images(update) for update in (0, 15, 30, 31)] == [0, 150, 300, 305]
    third = timeline("lr_unit=images", 20, Done(100, second.images(100), second.done.unit))
    assert third.max_update == 100 + math.ceil((1000 - 650) / 20) and third.images(101) == 670
    # Epochs are those of the first start, and nothing is left once their images are done.
    assert timeline("lr_unit=images max_epochs=1", 7, Done(143, 1001, 10)).max_update == 145
    assert timeline("lr_unit=images max_epochs=1", 7, Done(145, 1015, 10)).max_update == 145
    assert timeline("lr_unit=images max_epochs=1", 7, Done(150, 1050, 10)).max_update < 150


def test_a_schedule_of_updates_counts_updates():
    made = timeline("lr_steps=50", 5, Done(30, 300, 10))
    assert made.max_update == 100 and rates(made) == rates(timeline("lr_steps=50"))


def test_images_change_nothing_while_the_batch_stays():
    for done in (Done(), Done(30, 300, 10)):
        text = "lr_schedule=cosine warmup_updates=7"
        assert rates(timeline(text + " lr_unit=images", done=done)) == rates(timeline(text))
