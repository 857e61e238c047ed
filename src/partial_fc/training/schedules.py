"""Learning rate as a function of the update."""

from bisect import bisect_right


def multi_step_lr(base_lr, steps, factor, num_update):
    """`base_lr` times `factor` for every step that update `num_update` (counted from 0) has reached.

    Args:
        steps: ascending list of updates.
    """
    return base_lr * factor ** bisect_right(steps, num_update)
