"""A report in Markdown: what was measured beside what was published."""

import os

from .output import Result, all_columns, shown
from .published import published

_EXPLANATION = "Shares are in percent. `A 1e-4` is A at a false accept rate of 1e-4; `-` was not told or cannot be."


def report(results, folder=".", pictures=()):
    """Markdown (str): for each data set a table of the models, those published below those measured.

    Args:
        results: list of output.Result.
        folder: of the report, to which the paths of pictures are made relative.
        pictures: paths of PNGs to show.
    """
    lines = ["# Evaluation", "", _EXPLANATION]
    for protocol, data in dict.fromkeys((each.protocol, each.data) for each in results):
        own = [each for each in results if (each.protocol, each.data) == (protocol, data)]
        lines += ["", f"## {protocol}: {data}", "", *_table(own, published(protocol, data))]
    for path in pictures:
        lines += ["", f"![{os.path.basename(path)}]({os.path.relpath(path, folder)})"]
    return "\n".join(lines) + "\n"


def _table(own, others):
    columns = all_columns(own)
    rows = [["model", *columns], ["---"] * (1 + len(columns))]
    rows += [[each.model, *shown(each, columns)] for each in own]
    others = [Result(each.protocol, "", each.model, each.figures) for each in others]
    rows += [[f"published: {each.model}", *shown(each, columns)] for each in others]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
