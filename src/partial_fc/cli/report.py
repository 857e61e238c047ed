"""The command `partial-fc report`."""

import argparse
import logging
from typing import Optional, Sequence

from ..errors import InputError
from ..files import has_ending
from ..output.closed_pipe import quiet_pipe
from .options import add_overwrite, check_new_file, write_text
from .parser import Parser
from .run import run

log = logging.getLogger("partial_fc")

_REPORT = """\
Write one HTML file about runs and evaluations, which any browser shows without a network: what was trained and how
fast, curves, accuracies beside the published ones, ROC and scores, pictures of the worst mistakes, classes that are
probably one person, skipped records.

A folder is a run (its models root), finished or not, or what `eval verification --mistakes DIR` or `centers conflicts
--pictures DIR` has written; a file is what these write with `--json FILE`. Several runs are shown side by side."""


def parser() -> Parser:
    """Parser of `partial-fc report`."""
    result = Parser(
        prog="partial-fc report", description=_REPORT, example="partial-fc report models/demo-demo-cosface report.html"
    )
    kinds = "folders of runs, mistakes or contact sheets, files of evaluations or conflicts"
    result.add_argument("sources", nargs="+", metavar="RUN|DIR|FILE.json", help=kinds)
    result.add_argument("out", metavar="OUT.html", help="file to write")
    add_overwrite(result, "files")
    result.set_defaults(run=_report)
    return result


@quiet_pipe
def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    return run(parser().parse_args(argv))


def _report(args: argparse.Namespace) -> None:
    if not has_ending(args.out, ".html"):
        raise InputError(f"OUT.html {args.out}: the last argument is the file to write, whose name ends in .html")
    check_new_file("OUT.html", args.out, args.overwrite)
    from ..report.page import page  # these import MXNet: --help need not wait for it
    from ..report.sources import read_sources

    write_text(args.out, page(read_sources(args.sources)))
    log.info("wrote %s", args.out)
