"""What protocols have measured, as table, JSON and CSV: a `Result` for each model and data set."""

import csv
import io
import json
import re
import shutil
from typing import Any, Dict, NamedTuple

import numpy as np

from ..output.printable import escaped

# Figures that are floats without being shares of one.
_NO_SHARES = ("xnorm", "threshold", "threshold_no_flip")
# How texts begin that a spreadsheet takes for a formula; numbers are none.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", re.IGNORECASE)


class Curve(NamedTuple):
    """Points for a plot, as `roc.Roc.curve` gives them: `far` (n,), strictly ascending, and `tar` (n,)."""

    far: np.ndarray
    tar: np.ndarray


class Histogram(NamedTuple):
    """Numbers of pairs with scores between `edges` (n + 1,): `same` (n,) person and `different` (n,) people."""

    edges: np.ndarray
    same: np.ndarray
    different: np.ndarray


class Result(NamedTuple):
    """What a protocol found for a model on a data set.

    Attributes:
        protocol: name of the command.
        data: name of the data set.
        model: name of the model.
        figures: what was measured, in the order of the table's columns. Values are floats, shares of one but for
            those in `_NO_SHARES`, ints, texts, None for what cannot be told (too few pairs), or dictionaries of these:
            `{"tar": {"1e-4": 0.9}}` is the column `tar 1e-4`. Keys of false accept rates are `far_name`s.
        curves, histograms: by name, "" for the only one.
        settings: how it was measured, values for JSON by name; see `embedding.Embedder`.
        groups: the figures for the rows of a report, by what a row is of; none: all figures in one row.
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
    def columns(self):
        """The figures by name of their column, without dictionaries in dictionaries."""
        return flat(self.figures)


def far_name(far):
    """`1e-4` for 0.0001: the key of a false accept rate."""
    return np.format_float_scientific(far, trim="-", exp_digits=1)


def results_json(results):
    """The figures with `protocol`, `data`, `model` and `settings`: an object, for several results a list of objects."""
    objects = [
        {
            "protocol": each.protocol,
            "data": each.data,
            "model": each.model,
            **({"settings": each.settings} if each.settings else {}),
            **each.figures,
        }
        for each in results
    ]
    return json.dumps(objects[0] if len(objects) == 1 else objects, indent=2, allow_nan=False)


def results_csv(results):
    """A header and a row for each result; shares as fractions, empty fields for missing ones; see `csv_cell`."""
    file = io.StringIO()
    columns = all_columns(results)
    writer = csv.writer(file, lineterminator="\n")
    rows = [["protocol", "data", "model", *columns]]
    rows += [[each.protocol, each.data, each.model, *map(each.columns.get, columns)] for each in results]
    writer.writerows(map(csv_cell, row) for row in rows)
    return file.getvalue()


def csv_cell(value: Any) -> Any:
    """A value for a CSV file: a text is `escaped`, and has a `'` before it where it might be taken for a formula."""
    if not isinstance(value, str):
        return value
    text = escaped(value)
    return f"'{text}" if _FORMULA.match(value) and not _NUMBER.fullmatch(text) else text


def table(results):
    """Aligned text, shares in percent: a row for each result, or a column where rows are wider than the terminal."""
    columns = all_columns(results)
    rows = [["data", "model", *columns]] + [[each.data, each.model, *shown(each, columns)] for each in results]
    rows = [list(map(escaped, row)) for row in rows]
    lines = _aligned(rows, 2)
    if len(lines[0]) > shutil.get_terminal_size().columns:
        lines = _aligned([list(column) for column in zip(*rows)], 1)
    return "\n".join(lines)


def all_columns(results):
    """Names of the columns of any of the results, in order."""
    return list(dict.fromkeys(name for each in results for name in each.columns))


def shown(result, columns):
    """The figures of columns as text: shares in percent, `-` for what the result lacks."""
    return [text(name, result.columns.get(name)) for name in columns]


def text(name, value):
    """A figure as text, by the name of its column: shares in percent, `-` for None."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if name.split()[0] in _NO_SHARES else f"{100 * value:.2f}"


def _aligned(rows, to_the_left):
    """Lines of rows of cells; the first columns begin, the others end at the same place."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(
            cell.ljust(width) if index < to_the_left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    ]


def flat(figures):
    """Figures by name, without dictionaries in dictionaries: `tar 1e-4` is the figure of `1e-4` in that of `tar`."""
    return dict(_flat(figures, ()))


def _flat(figures, names):
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _flat(value, (*names, name))
        else:
            yield " ".join((*names, name)), value
