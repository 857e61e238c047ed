"""An entry of the table of the configuration's keys, and the kinds of values it has beside those of Python."""

import dataclasses
import math
import re
from typing import Any, Dict, List, Optional, Tuple, Union

# A number of updates, 20000, or of epochs, `20e`.
Span = Union[int, str]
Value = Union[bool, int, float, str, List[Span], List[str]]

_EPOCHS = re.compile(r"\d+(\.\d+)?e")


def parse_span(text: str) -> Span:
    """The span in a text; raises ValueError that says what was expected."""
    if text.isdecimal():
        return int(text)
    if not _EPOCHS.fullmatch(text):
        raise ValueError(f"expected updates, such as 1000, or epochs, such as 20e, not {text!r}")
    return text


def is_span(value: object) -> bool:
    """Whether a value is a number of updates, which may be negative, or of epochs."""
    return type(value) is int or isinstance(value, str) and bool(_EPOCHS.fullmatch(value))


def size(span: Union[Span, float]) -> float:
    """The number of a span, whatever the unit."""
    return float(span[:-1]) if isinstance(span, str) else span


def in_updates(span: Span, updates_per_epoch: int) -> int:
    """Updates in a span, rounded."""
    return round(size(span) * updates_per_epoch) if isinstance(span, str) else span


@dataclasses.dataclass(frozen=True)
class Key:
    """An entry of the table.

    Attributes:
        kind: bool, int, float, str, Span, Tuple[Span, ...] (ascending) or Tuple[str, ...] (names of files, patterns).
        choices: the only values of a str; empty if there is no such list.
        at_least, above, at_most: limits of a number; None where there is none.
        start: whether it belongs to one start of a run: a run that continues, or is repeated, may have another value.
        option: whether `partial-fc train` has an option of its own for it, see `flag`.
        default: value where a preset gives none; None: every preset has to give one.
    """

    name: str
    kind: Any
    meaning: str
    unit: str = ""
    choices: Tuple[str, ...] = ()
    at_least: Optional[float] = None
    above: Optional[float] = None
    at_most: Optional[float] = None
    start: bool = False
    option: bool = False
    default: Optional[Value] = None

    @property
    def flag(self) -> str:
        """The option: `--batch-size`."""
        return "--" + self.name.replace("_", "-")

    @property
    def is_list(self) -> bool:
        """Whether the value is a list: spans or names."""
        return self.kind in (Tuple[Span, ...], Tuple[str, ...])

    @property
    def range(self) -> str:
        """The range of a number, as it follows `must` in an error; empty if there is none."""
        if self.at_most is not None:
            low = f"[{self.at_least:g}" if self.above is None else f"({self.above:g}"
            return f"lie in {low}, {self.at_most:g}]"
        if self.above is not None:
            return "be positive" if not self.above else f"be above {self.above:g}"
        if self.at_least is None:
            return ""
        return f"be at least {self.at_least:g}" if self.at_least else "not be negative"

    def allows(self, value: Union[Span, float]) -> bool:
        """Whether a number, or that of a span, is in the range."""
        number = size(value)
        if self.above is not None and not number > self.above:
            return False
        if self.at_least is not None and not number >= self.at_least:
            return False
        return self.at_most is None or number <= self.at_most

    @property
    def values(self) -> str:
        """Description of its values: `whole number, at least 1`."""
        kinds: Dict[Any, str] = {bool: "true or false", int: "whole number", float: "number", str: "text"}
        kinds.update({Span: "whole number, or as 2e", Tuple[Span, ...]: "ascending list, as 1000,1500 or 20e,28e"})
        kinds[Tuple[str, ...]] = "list, separated by commas"
        text = ", ".join(choice or "empty" for choice in self.choices) or kinds[self.kind]
        limits = self.range.replace("not be negative", "at least 0").replace("be ", "").replace("lie ", "")
        return f"{text}, {limits}" if limits else text


def parse_value(entry: Key, text: str) -> Value:
    """`text` as a value of the key's type; raises ValueError that says what was expected."""
    if entry.kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return text.lower() == "true"
    if entry.is_list:
        items = _items(text)
        return [parse_span(item) for item in items] if entry.kind == Tuple[Span, ...] else items
    if entry.kind == Span:
        return parse_span(text)
    if entry.kind is int:
        return whole_number(text)
    return number(text) if entry.kind is float else text


def _items(text: str) -> List[str]:
    """Items of a list as typed, `a,b` or `[a,b]`; commas in the brackets of a pattern do not separate."""
    if re.fullmatch(r"\[[^][]*\]", text) and ("," in text or text == "[]"):
        text = text[1:-1]
    return [item.strip() for item in re.split(r",(?![^][(){}]*[])}])", text) if item.strip()]


def whole_number(text: str) -> int:
    """The whole number in a text; raises ValueError that says what was expected."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"expected a whole number, not {text!r}") from None


def number(text: str) -> float:
    """The finite number in a text; raises ValueError that says what was expected."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"expected a number, not {text!r}")
    return value
