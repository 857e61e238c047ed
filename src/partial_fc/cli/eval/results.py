"""Writes the results of a protocol: to the terminal, and to the files of the options of `add_output`."""

import argparse
import logging
import os
from typing import TYPE_CHECKING, Sequence

from ..options import ON_TERMINAL, print_result, write_text

if TYPE_CHECKING:
    from ...eval.output import Result

log = logging.getLogger("partial_fc")


def write_results(results: "Sequence[Result]", args: argparse.Namespace) -> None:
    """Print results as a table or JSON, and write the files that the options of `add_output` name.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    from ...eval.output import results_csv, results_json, table

    print_result(table(results).split("\n"), results_json(results), args.json)
    if args.csv:
        write_text(args.csv, results_csv(results))
    if args.roc or args.histogram:
        from ...eval.plots import draw_histograms, draw_roc  # matplotlib takes a while to load

        if args.roc:
            draw_roc(args.roc, results)
        if args.histogram:
            draw_histograms(args.histogram, results)
    if args.report:
        from ...eval.report import report

        pictures = [path for path in (args.roc, args.histogram) if path]
        write_text(args.report, report(results, os.path.dirname(os.path.abspath(args.report)), pictures))
    for path in (args.json, args.csv, args.roc, args.histogram, args.report):
        if path and path != ON_TERMINAL:
            log.info("wrote %s", path)
