"""`partial-fc centers conflicts`."""

import argparse
import logging
import os
from typing import Any

from ..errors import InputError
from ..files import has_ending
from .curation import add_findings, add_search, check_findings, write_findings
from .options import RECORDS, command_line, shown
from .parser import positive
from .run import add_command

log = logging.getLogger("partial_fc")

_CONFLICTS = """\
Find classes whose centers are close to each other: probably one person under several labels. All pairs are compared,
block by block, whatever the number of classes. Close classes are grouped into clusters. Instead of centers, the means
of the features of each class can be compared, which finds more after a long training on few images.

With --rec the report has names and numbers of images, and --pictures shows the images of each cluster, so that you can
decide. List pairs of different people in a file for --different. --apply writes lists: label-map.txt, which joins each
cluster to one identity, for `data merge --labels` and `centers map --labels`; leave-out.txt, for `data merge
--leave-out`; and close-identities.txt, for `data split --identities`."""


def add_conflicts(commands: Any, centers: str) -> None:
    """Add the command to argparse's sub-parsers; `centers` describes a folder of centers."""
    command = add_command(
        commands,
        "conflicts",
        _conflicts,
        help="find classes that are probably one person",
        description=_CONFLICTS,
        example="partial-fc centers conflicts CHECKPOINT --rec data/faces --pictures pictures --apply lists",
    )
    command.add_argument(
        "source",
        metavar="CHECKPOINT",
        help=f"{centers}; or the .npy file that `partial-fc eval embed FEATURES --rec DATA` writes",
    )
    command.add_argument("--rec", metavar="SOURCE", help=f"{RECORDS} (default: none, see --pictures)")
    command.add_argument(
        "--sub-centers",
        type=positive,
        metavar="K",
        help="centers per class; two classes are compared by their closest two (default: as in the checkpoint; 1 for "
        "folders with centers only)",
    )
    add_search(command, 0.5, "classes' centers or means", "their labels")
    add_findings(command, "one per cluster with a row of images per class; needs --rec")


def _conflicts(args: argparse.Namespace) -> None:
    from ..curation.conflicts import LABEL_MAP, LISTS, conflicts_outputs, find_conflicts, write_lists
    from ..curation.people import People

    if args.pictures and not args.rec:
        raise InputError("--pictures needs the data set that the centers were trained on: --rec SOURCE")
    people = People(args.rec) if args.rec else None
    sources = [people.data_set] if people else []
    check_findings(args, LISTS, sources)
    found = find_conflicts(
        args.source,
        args.threshold,
        args.most,
        people,
        args.sub_centers,
        args.different,
        args.workers,
        shown("pairs of blocks"),
    )
    write_findings(args, conflicts_outputs(found), sources)
    if args.apply:
        count = write_lists(args.apply, found, args.overwrite)
        labels = ["OUT", "--labels", os.path.join(args.apply, LABEL_MAP)]
        merge = command_line("data", "merge", args.rec or "DATA", *labels)
        log.info("to join them into %d identities: %s", count, merge)
        checkpoint = "CHECKPOINT" if has_ending(args.source, ".npy") else args.source
        mapped = command_line("centers", "map", checkpoint, *labels, "--num-classes", str(count))
        log.info("to join their centers: %s", mapped)
