"""Shared by the commands that find mistakes in data: their options, and writing of their findings."""

import argparse
import itertools
import logging
from typing import TYPE_CHECKING, Any, Iterable, List, Sequence

from ..files import atomic_path
from ..output.printable import print_lines
from .options import (
    ON_TERMINAL,
    Options,
    add_json,
    add_overwrite,
    add_workers,
    check_file_to_write,
    check_folder_to_write,
    shown,
)
from .parser import positive, share

if TYPE_CHECKING:
    from ..curation.outputs import Outputs
    from ..data.records.data_set import DataSet

log = logging.getLogger("partial_fc")

_MOST_LINES = 50


def add_search(command: Options, threshold: float, what: str, pair: str) -> None:
    """Add the options of a search for close classes: `what` is compared; `pair` are the two labels of a pair."""
    command.add_argument(
        "--threshold",
        type=share,
        default=threshold,
        metavar="COSINE",
        help=f"smallest cosine of two {what} to list, above 0 and at most 1",
    )
    command.add_argument(
        "--most",
        type=positive,
        default=10,
        metavar="N",
        help="keep at most the N closest classes or identities of each one; this limits the memory",
    )
    command.add_argument(
        "--different",
        metavar="FILE",
        help=f"pairs that are known to be different people, never to be joined: on each line {pair} (default: none)",
    )
    add_workers(command, "compare")


def add_findings(command: Options, pictures: str) -> None:
    """Add the options of `write_findings`; `pictures` says what a sheet shows."""
    add_json(command)
    command.add_argument("--csv", metavar="FILE", help="write all findings as a table (default: not written)")
    command.add_argument(
        "--pictures", metavar="DIR", help=f"write contact sheets to DIR, {pictures} (default: no pictures)"
    )
    command.add_argument(
        "--apply", metavar="DIR", help="write lists for other commands to DIR; no data is changed (default: no lists)"
    )
    add_overwrite(command, "pictures and lists")


def check_findings(args: argparse.Namespace, lists: Sequence[str], sources: Sequence["DataSet"]) -> None:
    """Raise InputError if something that the command will write cannot be written, or is there and may not be replaced.

    Args:
        args: parsed arguments.
        lists: names of the files that --apply writes.
        sources: the data sets that are searched.
    """
    from ..curation.people import sheets_in
    from ..data.records.data_set import check_output

    for name in ("json", "csv"):
        check_file_to_write(f"--{name}", getattr(args, name))
    for name in ("pictures", "apply"):
        check_folder_to_write(f"--{name}", getattr(args, name))
    if args.pictures:
        check_output(args.pictures, sources, args.overwrite, sheets_in(args.pictures))
    if args.apply:
        check_output(args.apply, sources, args.overwrite, lists)


def write_findings(args: argparse.Namespace, outputs: "Outputs", sources: Sequence["DataSet"]) -> None:
    """Print the findings, and write the files that the options of `add_findings` name, except the lists.

    Args:
        args: parsed arguments.
        outputs: findings, of which the first 50 are printed.
        sources: the data sets that they show.
    """
    from ..curation.outputs import json_lines
    from ..data.records.data_set import write_lines

    if args.json == ON_TERMINAL:
        print_lines(json_lines(outputs.facts))
    else:
        print_lines([*outputs.summary, *itertools.islice(outputs.lines, _MOST_LINES)])
        if outputs.number > _MOST_LINES:
            print_lines([f"  and {outputs.number - _MOST_LINES:,} more; --json FILE and --csv FILE have all"])
        if args.json:
            write_lines(args.json, json_lines(outputs.facts))
    if args.csv:
        _write_table(args.csv, outputs.table)
    for path in (args.json, args.csv):
        if path and path != ON_TERMINAL:
            log.info("wrote %s", path)
    if args.pictures:
        from ..curation.people import draw_sheets  # Matplotlib takes a second to import

        drawn = args.pictures, outputs.sheets, outputs.number
        count = draw_sheets(*drawn, sources, args.overwrite, shown("sheets"))
        log.info("%s: %d sheets", args.pictures, count)
        if count < outputs.number:
            log.info("only the first %d of %d sheets were drawn", count, outputs.number)


def _write_table(path: str, rows: Iterable[List[Any]]) -> None:
    import csv

    from ..eval.output import csv_cell

    with atomic_path(path) as unfinished, open(unfinished, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(map(csv_cell, row) for row in rows)
