import mxnet as mx
import pytest

from partial_fc.training.schedules import multi_step_lr


@pytest.mark.parametrize(
    "num_update, rate", [(0, 0.2), (9, 0.2), (10, 0.1), (11, 0.1), (19, 0.1), (20, 0.05), (10**9, 0.05)]
)
def test_every_step_that_is_reached_counts(num_update, rate):
    assert multi_step_lr(0.2, [10, 20], 0.5, num_update) == pytest.approx(rate, rel=1e-12)


def test_without_steps_and_with_a_step_twice():
    assert multi_step_lr(0.2, [], 0.5, 1000) == 0.2
    assert multi_step_lr(0.2, [10, 10], 0.5, 10) == pytest.approx(0.05)


def test_steps_are_those_of_mxnet():
    steps = [3, 5, 9]
    scheduler = mx.lr_scheduler.MultiFactorScheduler(steps, factor=0.1, base_lr=0.5)
    for num_update in range(12):
        assert multi_step_lr(0.5, steps, 0.1, num_update) == pytest.approx(scheduler(num_update + 1))  # counts from 1
