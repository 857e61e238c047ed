"""What a search prints and writes, made while it is written: it need not fit into memory."""

import json
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Tuple

from ..data.tools.contact_sheet import Row


class Outputs(NamedTuple):
    """Findings in every form. Each iterator is used once, or not at all.

    Attributes:
        summary: lines of text.
        number: of the findings.
        lines: a line of text for each finding, the strongest first.
        facts: for `json_lines`.
        table: header and rows of a CSV file.
        sheets: rows of images for each finding.
    """

    summary: List[str]
    number: int
    lines: Iterator[str]
    facts: Dict[str, Any]
    table: Iterator[List[Any]]
    sheets: Iterator[List[Row]]


def json_lines(facts: Dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a JSON object, one for each value; an iterator becomes a list, with a line for each item."""
    yield "{"
    for (name, value), comma in _with_commas(facts.items()):
        start = f"  {json.dumps(name)}: "
        if isinstance(value, Iterator):
            yield f"{start}["
            yield from (f"    {json.dumps(item)}{more}" for item, more in _with_commas(value))
            yield f"  ]{comma}"
        else:
            yield f"{start}{json.dumps(value)}{comma}"
    yield "}"


def _with_commas(things: Iterable[Any]) -> Iterator[Tuple[Any, str]]:
    """Yield each thing with what separates it from the next: a comma, or nothing after the last."""
    rest = iter(things)
    for current in rest:
        for following in rest:
            yield current, ","
            current = following
        yield current, ""
