"""One quantity varied: plans with sampling, with all classes and with the bank on the host, and where they cross."""

from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Union

from ..errors import InputError
from .memory import LARGEST_ARRAY
from .plan import Plan, Setting, changed, make_plan

QUANTITIES = {"gpus": "ranks", "identities": "num_classes", "sample_ratio": "sample_ratio"}
_NAMES = {"gpus": "{} GPUs", "identities": "{} identities", "sample_ratio": "a sample ratio of {}"}
_PAYS = 1.1  # sampling pays where it is a tenth faster
_TITLES = {"whole": "With all classes", "sampled": "With sampling", "on_host": "With sampling and the bank on the host"}

Value = Union[int, float]


class Row(NamedTuple):
    """Plans for one value of the quantity; None where MXNet could not hold an array of the step.

    Attributes:
        value: of the quantity.
        sampled: as asked for.
        whole: the same with all classes in every update: model parallelism.
        on_host: as asked for, with the bank on the host.
    """

    value: Value
    sampled: Optional[Plan]
    whole: Optional[Plan]
    on_host: Optional[Plan]


def sweep(setting: Setting, quantity: str, values: Sequence[Value]) -> List[Row]:
    """The rows for values of `gpus`, `identities` or `sample_ratio`."""
    rows = []
    for value in values:
        change: Dict[str, Any] = {QUANTITIES[quantity]: value}
        varied = changed(setting, **change)
        whole, on_host = changed(varied, sample_ratio=1.0), changed(varied, bank="host")
        rows.append(Row(value, *map(_plan, (varied, whole, on_host))))
    return rows


def _plan(setting: Setting) -> Optional[Plan]:
    try:
        return make_plan(setting)
    except InputError:
        return None


def steps(low: Value, high: Value, quantity: str) -> List[Value]:
    """Values from low to high: GPUs double, the others are 1, 2 and 5 times powers of ten; both ends are among them."""
    if quantity == "gpus":
        inner = [low * 2**power for power in range(40)]
    else:
        inner = [digit * 10.0**power for power in range(-6, 12) for digit in (1, 2, 5)]
    kind = float if quantity == "sample_ratio" else int
    return sorted({kind(value) for value in (low, high, *inner) if low <= value <= high})


def crossings(rows: Sequence[Row], quantity: str) -> Iterator[str]:
    """Sentences that follow from the rows: where sampling pays, where cards are full, what bounds an update."""

    def named(value: Value) -> str:
        return _NAMES[quantity].format(f"{value:,}")

    def first(condition: Callable[[Row], Any]) -> Optional[Row]:
        return next((row for row in rows if condition(row)), None)

    gains = [(row, row.sampled.rate / row.whole.rate) for row in rows if row.sampled and row.whole]
    pays = next(((row, gain) for row, gain in gains if gain >= _PAYS), None)
    if pays and quantity != "sample_ratio":
        row, gain = pays
        yield (
            f"The first value in the table at which sampling is at least a tenth faster: {named(row.value)} "
            f"({gain:.2f} times as many images per second)."
        )
    for name, title in _TITLES.items():
        held = [row.value for row in rows if _fits(getattr(row, name))]
        if held and len(held) < len(rows):
            low, high = min(held), max(held)
            span = named(low) if low == high else f"{low:,} to {named(high)}"
            yield f"{title}, the run fits on the cards at {span}, and at no other value in the table."
        elif not held:
            yield f"{title}, the run fits on the cards at no value in the table."
    large = first(lambda row: not row.whole)
    if large:
        yield (
            f"With all classes, MXNet cannot train from {named(large.value)} on: an array would have more than "
            f"{LARGEST_ARRAY:,} numbers."
        )
    before: Optional[str] = None
    for row in rows:
        if row.sampled and row.sampled.bound != before:
            share = row.sampled.shares()[row.sampled.bound]
            at = named(row.value)
            yield f"With sampling, {row.sampled.bound} takes the most time from {at} on ({share:.0%} at {at})."
            before = row.sampled.bound
    wins = first(lambda row: _fits(row.on_host) and not _fits(row.sampled))
    if wins and wins.on_host:
        yield (f"At {named(wins.value)}, only the bank on the host fits: {wins.on_host.rate:,.0f} images per second.")


def _fits(plan: Optional[Plan]) -> bool:
    return bool(plan and plan.fits)
