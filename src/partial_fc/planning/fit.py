"""The largest run that a machine can hold, and the fewest cards that hold a run."""

from typing import Callable, Iterator, Optional, Sequence

from ..errors import InputError
from .memory import configured_on_host, on_host
from .plan import Setting, changed, make_plan

_MOST_BATCH, _MOST_RANKS = 2**14, 2**14


def fits(setting: Setting) -> bool:
    """Whether the cards hold the run, and MXNet its arrays, with the bank where the configuration has it."""
    try:
        return make_plan(setting).fits and not outgrows_cards(setting)
    except InputError:
        return False


def outgrows_cards(setting: Setting) -> bool:
    """Whether the trainer would move the bank from a GPU to the host, as a shard is too large for an NDArray.

    A plan for GPUs does not compare the memory of their hosts, so more classes would fit where fewer do not.
    """
    run = setting.run
    on_gpu = setting.card.device == "gpu"
    return on_gpu and on_host(run, setting.cluster.ranks) and not configured_on_host(run.config)


def largest_classes(setting: Setting) -> int:
    """The most classes of two digits, such as 1,200,000, that fit; 0 if none do."""
    steps = [digits * 10**power for power in range(1, 8) for digits in range(10, 100)]
    return _last(steps, lambda number: fits(changed(setting, num_classes=number)))


def next_classes(number: int) -> int:
    """The number of two digits after one of `largest_classes`."""
    return number + 10 ** (len(str(number)) - 2) if number else 100


def largest_batch(setting: Setting) -> int:
    """The most images per rank that fit, a multiple of 4; 0 if none do."""
    return _last(range(4, _MOST_BATCH, 4), lambda number: fits(changed(setting, batch_size=number)))


def fewest_ranks(setting: Setting) -> Optional[int]:
    """The fewest ranks that hold the run, a power of two from one up or whole hosts; None if no number does."""
    per_host = setting.cluster.per_host
    steps = sorted({2**power for power in range(15) if 2**power <= per_host} | set(_hosts(per_host)))
    return next((number for number in steps if fits(changed(setting, ranks=number))), None)


def _hosts(per_host: int) -> Iterator[int]:
    hosts = 1
    while hosts * per_host <= _MOST_RANKS:
        yield hosts * per_host
        hosts += 1 if hosts < 8 else hosts // 4


def _last(steps: Sequence[int], holds: Callable[[int], bool]) -> int:
    """The last of ascending steps for which a condition holds that, once false, stays false; 0 if it never holds."""
    low, high = -1, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(steps[middle]) else (low, middle)
    return steps[low] if low >= 0 else 0
