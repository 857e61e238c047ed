"""Where the results of a protocol go: to the terminal, and to the files that the arguments name."""

import logging
import os

from ...files import atomic_path
from ...output.printable import print_lines

log = logging.getLogger("partial_fc")


def write_results(results, args):
    """Print a list of Result as table (or JSON) and write the files that the arguments of `add_output` name.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    from ...eval.output import results_csv, results_json, table

    print_lines((results_json(results) if args.json == "-" else table(results)).split("\n"))
    if args.json and args.json != "-":
        _write(args.json, results_json(results) + "\n")
    if args.csv:
        _write(args.csv, results_csv(results))
    if args.roc or args.histogram:
        from ...eval.plots import draw_histograms, draw_roc  # matplotlib takes a while to load

        for path, draw in ((args.roc, draw_roc), (args.histogram, draw_histograms)):
            if path:
                draw(path, results)
                log.info("wrote %s", path)
    if args.report:
        from ...eval.report import report

        pictures = [path for path in (args.roc, args.histogram) if path]
        _write(args.report, report(results, os.path.dirname(os.path.abspath(args.report)), pictures))


def _write(path, content):
    with atomic_path(path) as unfinished:
        with open(unfinished, "w", encoding="utf-8", newline="\n") as file:
            file.write(content)
    log.info("wrote %s", path)
