"""Results of protocols as table, JSON and CSV: a `Result` per model and data set."""

import csv
import io
import json
import re
from shutil import get_terminal_size
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from ..output.printable import escaped
from .roc import Curve, Histogram

# Figures that are floats, but not fractions to be shown in percent.
_NOT_IN_PERCENT = ("xnorm", "threshold", "threshold_no_flip", "cosine_threshold")
_INTERVAL = "_interval"  # end of the names of figures that are intervals of others
# Beginnings of texts that a spreadsheet may take for a formula. Numbers are none.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", re.IGNORECASE)


class Result(NamedTuple):
    """Figures of a model on a data set by a protocol.

    Attributes:
        protocol: name of the command.
        data: name of the data set.
        model: name of the model.
        figures: by name, in the order of the table's columns. Values are floats (fractions of 1, except for those in
            `_NOT_IN_PERCENT`), ints, texts, None where there are too few pairs, or dictionaries of these:
            `{"tar": {"1e-4": 0.9}}` is the column `tar 1e-4`. Keys of false accept rates are `roc.far_name`s.
            `tar_interval` has the intervals of `tar`, `{"1e-4": {"low": 0.8, "high": 0.95}}`.
        curves, histograms: by name, "" if there is one only.
        settings: how it was measured, values for JSON by name; see `embedding.Embedder`.
        groups: figures of each row of a report, by the row's name; empty: all figures in one row.
    """

    protocol: str
    data: str
    model: str
    figures: Dict[str, Any]
    curves: Dict[str, Curve] = {}
    histograms: Dict[str, Histogram] = {}
    settings: Dict[str, Any] = {}
    groups: Dict[str, Dict[str, Any]] = {}

    @property
    def columns(self) -> Dict[str, Any]:
        """The figures by column, without nested dictionaries."""
        return flat(self.figures)

    def as_object(self) -> Dict[str, Any]:
        """The result as values for JSON: figures, protocol, data, model, and settings if there are any."""
        names = {"protocol": self.protocol, "data": self.data, "model": self.model}
        return {**names, **({"settings": self.settings} if self.settings else {}), **self.figures}


def results_json(results: Sequence[Result]) -> str:
    """The figures with `protocol`, `data`, `model` and `settings`: an object, or a list of objects for several."""
    objects = [each.as_object() for each in results]
    return json.dumps(objects[0] if len(objects) == 1 else objects, indent=2, allow_nan=False)


def results_csv(results: Sequence[Result]) -> str:
    """A header and a row per result; fractions of 1, empty fields where there is no figure; see `csv_cell`."""
    file = io.StringIO()
    columns = all_columns(results)
    writer = csv.writer(file, lineterminator="\n")
    rows: List[List[Any]] = [["protocol", "data", "model", *columns]]
    rows += [[each.protocol, each.data, each.model, *map(each.columns.get, columns)] for each in results]
    writer.writerows(map(csv_cell, row) for row in rows)
    return file.getvalue()


def csv_cell(value: Any) -> Any:
    """A value for a CSV file: a text is `escaped`, and gets a `'` in front if it might be taken for a formula."""
    if not isinstance(value, str):
        return value
    text = escaped(value)
    return f"'{text}" if _FORMULA.match(value) and not _NUMBER.fullmatch(text) else text


def table(results: Sequence[Result]) -> str:
    """Aligned text, in percent: a row per result, or a column per result if rows are wider than the terminal."""
    columns = list(filter(is_shown, all_columns(results)))
    rows = [["data", "model", *columns]] + [[each.data, each.model, *shown(each, columns)] for each in results]
    rows = [list(map(escaped, row)) for row in rows]
    lines = aligned(rows, 2)
    if len(lines[0]) > get_terminal_size().columns:
        lines = aligned([list(column) for column in zip(*rows)], 1)
    return "\n".join(lines)


def all_columns(results: Sequence[Result]) -> List[str]:
    """Names of the columns of any of the results, in order."""
    return list(dict.fromkeys(name for each in results for name in each.columns))


def is_shown(column: str) -> bool:
    """Whether a table has a column of its own for a figure; intervals stand in those of their figures."""
    return not _figure(column).endswith(_INTERVAL)


def shown(result: Result, columns: Sequence[str]) -> List[str]:
    """The figures of these columns as text: in percent, `-` where the result has none."""
    return [text_with_interval(name, result.columns) for name in columns]


def text_with_interval(name: str, columns: Dict[str, Any]) -> str:
    """A figure as text, see `text`, and its interval, if it has one: `90.12 (88.90-91.23)`."""
    figure, _, key = name.partition(" ")
    low, high = (columns.get(f"{figure}{_INTERVAL} {key} {end}") for end in ("low", "high"))
    return text(name, columns.get(name)) + (f" ({text(name, low)}-{text(name, high)})" if low is not None else "")


def text(name: str, value: Any) -> str:
    """A figure of the column `name` as text: fractions in percent, `-` for None."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if _figure(name) in _NOT_IN_PERCENT else f"{100 * value:.2f}"


def _figure(column: str) -> str:
    """The name of the figure that a column belongs to: `tar` of the column `tar 1e-4`."""
    return column.partition(" ")[0]


def aligned(rows: Sequence[Sequence[str]], to_the_left: int) -> List[str]:
    """Lines of rows of cells of the same number: the first columns are aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(
            cell.ljust(width) if index < to_the_left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def flat(figures: Dict[str, Any]) -> Dict[str, Any]:
    """Figures without nested dictionaries: `{"tar": {"1e-4": 0.9}}` becomes `{"tar 1e-4": 0.9}`."""
    return dict(_flat(figures, ()))


def _flat(figures: Dict[str, Any], names: Tuple[str, ...]) -> Iterator[Tuple[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _flat(value, (*names, name))
        else:
            yield " ".join((*names, name)), value
