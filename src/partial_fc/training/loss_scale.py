"""Dynamic loss scaling, without which small gradients are 0 in float16 (arXiv 1710.03740, section 3.2)."""

from typing import Any, Dict

_FIRST, _LARGEST = 2.0**16, 2.0**24
# Updates without an overflow after which the scale is doubled.
_INTERVAL = 2000


class LossScale:
    """What the gradients of the backbone are multiplied by, always a power of two: dividing it out again is exact.

    An update whose gradients overflow is skipped, and the scale halved; after 2000 updates in a row without an overflow
    it is doubled, up to 2^24. All ranks have the same scale, because they check the same sums of gradients.

    Args:
        scale: the first.
        interval: updates until it is doubled.

    Attributes:
        scale: of the next update.
        skipped: updates skipped so far.
    """

    def __init__(self, scale: float = _FIRST, interval: int = _INTERVAL) -> None:
        self.scale, self.skipped = scale, 0
        self._interval, self._since = interval, 0  # updates since the scale last changed

    def next(self, finite: bool) -> bool:
        """Adapt the scale after an update whose gradients were finite or not; returns whether it has changed."""
        before = self.scale
        if not finite:
            self.scale, self.skipped, self._since = self.scale / 2, self.skipped + 1, 0
        else:
            self._since += 1
            if self._since == self._interval:
                self.scale, self._since = min(2 * self.scale, _LARGEST), 0
        return self.scale != before

    def __str__(self) -> str:
        return f"{self.scale:g}, {self.skipped} update{'s' * (self.skipped != 1)} skipped so far"

    def changed(self, finite: bool) -> str:
        """What the log says when `next` has changed the scale."""
        if finite:
            return f"loss scale doubled to {self.scale:g}"
        return f"skipped: gradients overflow in float16; loss scale halved to {self}"

    def state_dict(self) -> Dict[str, float]:
        """What a checkpoint keeps, of types that JSON has."""
        return dict(scale=self.scale, skipped=self.skipped, since=self._since)

    def load(self, state: Any) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            ValueError: `state` is anything else.
        """
        try:
            scale, skipped, since = (state[name] for name in ("scale", "skipped", "since"))
            valid = 0 < scale <= _LARGEST and type(skipped) is type(since) is int and min(skipped, since) >= 0
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the state of a loss scale: {state!r:.80}") from error
        if not valid:
            raise ValueError(f"not the state of a loss scale: {state!r:.80}")
        self.scale, self.skipped, self._since = float(scale), skipped, since
