"""Learning rate as a function of the update."""

from bisect import bisect_right
from typing import Callable, Sequence, Tuple

# From the update, counted from 0, to the learning rates of backbone and centers.
Schedule = Callable[[int], Tuple[float, float]]


def multi_step_lr(base_lr: float, steps: Sequence[int], factor: float, num_update: int) -> float:
    """`base_lr` times `factor` for every step that update `num_update` (counted from 0) has reached.

    Args:
        steps: ascending updates.
    """
    return base_lr * factor ** bisect_right(steps, num_update)


def multi_step_schedule(backbone_lr: float, memory_bank_lr: float, steps: Sequence[int], factor: float) -> Schedule:
    """The Schedule in which both learning rates follow `multi_step_lr`."""

    def schedule(num_update: int) -> Tuple[float, float]:
        return (
            multi_step_lr(backbone_lr, steps, factor, num_update),
            multi_step_lr(memory_bank_lr, steps, factor, num_update),
        )

    return schedule
