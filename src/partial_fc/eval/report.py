"""A report in Markdown: measured results beside published ones."""

import os
import re
import urllib.parse
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple, Union

from ..output.printable import escaped
from .embedding import pixel_words
from .output import Result, flat, is_shown, text, text_with_interval
from .protocols.published import Published, published

_Row = Tuple[str, str, Dict[str, str]]

EXPLANATION = (
    "Accuracies and rates are in percent; ± is the standard deviation over the folds. TAR at FAR 1e-4 is the share of "
    "the pairs of the same person that are accepted by a threshold that accepts at most one in 10,000 pairs of "
    "different people; in parentheses its 95 % confidence interval. `-`: too few pairs, or not published."
)
GROUPS = {"verification": "Mirror images", "ifrt": "Group", "ijb": "Embeddings are added"}  # columns that name rows
# Characters with a meaning in Markdown or HTML; `_` and `.` have one in some places only.
_MARKS = re.compile(r"[\\`*\[\]<>|&~$#!]|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.|(?<=\w)@(?=\w)", re.IGNORECASE)
_GUESSED = "because of the beginning of its symbol"
_LABELS = {
    "auc": "AUC",
    "xnorm": "Mean norm",
    "rank1": "Rank 1",
    "pairs same": "Pairs of the same person",
    "pairs different": "Pairs of different people",
}


class Comparison(NamedTuple):
    """The models measured on a data set by a protocol, published results below them.

    Attributes:
        protocol, data: of the results.
        names: headings of the columns that name rows: the model and, if there are several rows of a model, their kind.
        columns: headings of the columns of figures.
        rows: a text for each column of both kinds.
        pixels: what the network of each model gets: (model, words).
    """

    protocol: str
    data: str
    names: List[str]
    columns: List[str]
    rows: List[List[str]]
    pixels: List[Tuple[str, str]]


def comparisons(results: Sequence[Result]) -> Iterator[Comparison]:
    """A table for each protocol and data set, in the order of the results."""
    for protocol, data in dict.fromkeys((each.protocol, each.data) for each in results):
        own = [each for each in results if (each.protocol, each.data) == (protocol, data)]
        yield Comparison(protocol, data, *_table(own, published(protocol, data)), _pixels(own))


def report(results: Sequence[Result], folder: str = ".", pictures: Sequence[str] = ()) -> str:
    """A report in Markdown: for each data set a table of the models, published ones below measured ones.

    Args:
        results: to report.
        folder: of the report; paths of pictures are relative to it.
        pictures: paths of PNGs to show.
    """
    lines = ["# Evaluation", "", EXPLANATION]
    for each in comparisons(results):
        lines += ["", f"## {each.protocol}: {_escaped(each.data)}", "", *_lines(each)]
    for path in pictures:
        target = urllib.parse.quote(os.fsencode(os.path.relpath(path, folder)))
        lines += ["", f"![{_escaped(os.path.basename(path))}]({target})"]
    return "\n".join(lines) + "\n"


def _lines(comparison: Comparison) -> List[str]:
    """A comparison in Markdown."""
    names, columns, rows = comparison.names, comparison.columns, comparison.rows
    lines = [names + columns, ["---"] * len(names) + ["--:"] * len(columns), *rows]
    pixels = [f"- {_escaped(model)}: the network gets {words}" for model, words in comparison.pixels]
    return ["| " + " | ".join(map(_escaped, line)) + " |" for line in lines] + ([""] + pixels if pixels else [])


def _table(own: Sequence[Result], others: Sequence[Published]) -> Tuple[List[str], List[str], List[List[str]]]:
    """`names`, `columns` and `rows` of a Comparison; columns without figures are left out.

    There is a row per group and model, and those of a group stand together.
    """
    rows = [row for each in own for row in _rows(each.model, each)]
    columns = list(dict.fromkeys(label for _, _, figures in rows for label in figures))
    rows += [row for each in others for row in _rows(f"published: {each.model}", each)]
    columns = [label for label in columns if any(figures.get(label, "-") != "-" for _, _, figures in rows)]
    groups = list(dict.fromkeys(name for _, name, _ in rows))  # measured ones first, in their order
    rows.sort(key=lambda row: groups.index(row[1]))
    named = groups != [""]
    names = ["Model", *[GROUPS.get(own[0].protocol, "")] * named]
    cells = [
        [model, *[name] * named, *(figures.get(label, "-") for label in columns)]
        for model, name, figures in rows
        if any(label in figures for label in columns)
    ]
    return names, columns, cells


def _rows(model: str, result: Union[Result, Published]) -> Iterator[_Row]:
    """For each group of a result: the model, the name of the group, and the figures as text by label."""
    for name, figures in (result.groups or {"": result.figures}).items():
        figures = flat(figures)
        yield (
            model,
            name,
            {_label(key): _text(key, figures) for key in figures if is_shown(key) and not key.endswith("_std")},
        )


def _label(key: str) -> str:
    if key.startswith("tar "):
        return f"TAR at FAR {key[4:]}"
    return _LABELS.get(key, key[:1].upper() + key[1:])


def _text(key: str, figures: Dict[str, Any]) -> str:
    value, deviation = figures[key], figures.get(f"{key}_std")
    shown = f"{value:,}" if isinstance(value, int) else text_with_interval(key, figures)
    return shown if deviation is None else f"{shown} ± {text(key, deviation)}"


def _pixels(results: Sequence[Result]) -> List[Tuple[str, str]]:
    """How pixels were scaled for each model: (model, words)."""
    scaled = [each for each in results if "mean" in each.settings]
    return list(dict.fromkeys((each.model, pixel_words(each.settings, _GUESSED)) for each in scaled))


def _escaped(cell: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKS.sub(r"\\\g<0>", escaped(cell))
