"""A report in Markdown: what was measured beside what was published."""

from .output import all_columns, shown


def report(results):
    """Markdown (str) of a list of output.Result: a table for each data set."""
    columns = all_columns(results)
    lines = []
    for row in (["data", "model", *columns], ["---"] * (2 + len(columns))):
        lines.append("| " + " | ".join(row) + " |")
    lines += ["| " + " | ".join([each.data, each.model, *shown(each, columns)]) + " |" for each in results]
    return "\n".join(lines) + "\n"
