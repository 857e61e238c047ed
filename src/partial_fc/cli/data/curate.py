"""`partial-fc data overlap` and `clean`."""

import argparse
import logging
import os
from typing import Any

from ...errors import InputError
from ..curation import add_findings, add_search, check_findings, write_findings
from ..options import RECORDS, command_line, shown
from ..parser import number, share
from ..run import add_command

log = logging.getLogger("partial_fc")

_FEATURES = "the .npy file that `partial-fc eval embed FEATURES --rec DATA` writes"
_OVERLAP = """\
Find people whom two data sets share: identities of B that are close to one of A, by the means of their embeddings, or
by class centers. Embeddings and centers must be those of one model.

--pictures shows the images of both. --apply writes lists for `data merge A B OUT`: leave-out.txt, with which
--leave-out leaves out those of B; label-map.txt, with which --labels joins them to those of A; and
shared-identities.txt, for `data split B OUT HELD_OUT --identities`."""
_CLEAN = """\
Find what is unusual within each identity, by the embeddings of a model: images far from the mean of the others, images
that are nearly equal, and identities that fall into two groups, probably two people under one label.

--pictures shows them. --apply writes lists for --leave-out-images of `data merge` and `split`: far-images.txt,
duplicate-images.txt (the first of equal images is not in it) and second-groups.txt, the images of the smaller of two
groups; and two-people.txt, for `data split --identities`. far-pairs.txt lists both images of each identity of two that
are far from each other: decide which of them is wrong, and delete the line of the other."""


def add(commands: Any) -> None:
    """Add the commands to argparse's sub-parsers."""
    command = add_command(
        commands,
        "overlap",
        _overlap,
        help="find people whom two data sets share",
        description=_OVERLAP,
        example="partial-fc data overlap data/a data/b --by a.npy b.npy --pictures pictures --apply lists",
    )
    command.add_argument("first", metavar="A", help=RECORDS)
    command.add_argument("second", metavar="B", help=RECORDS)
    command.add_argument(
        "--by",
        nargs=2,
        required=True,
        metavar=("BY_A", "BY_B"),
        help=f"for each data set, its features, {_FEATURES}, or a folder with its class centers",
    )
    add_search(command, 0.5, "identities' means or centers", "a label of A and a label of B")
    add_findings(command, "one per shared identity, the images of A above those of B")
    _add_clean(commands)


def _add_clean(commands: Any) -> None:
    command = add_command(
        commands,
        "clean",
        _clean,
        help="find images that are probably mislabeled, and duplicates",
        description=_CLEAN,
        example="partial-fc data clean data/faces features.npy --pictures pictures --apply lists",
    )
    command.add_argument("source", metavar="SOURCE", help=RECORDS)
    command.add_argument("features", metavar="FEATURES", help=f"features of its images: {_FEATURES}")
    command.add_argument(
        "--angle",
        type=number,
        default=75.0,
        metavar="DEGREES",
        help="an image is far if its angle to the mean of the identity's other images is larger than this",
    )
    command.add_argument(
        "--duplicate",
        type=share,
        default=0.98,
        metavar="COSINE",
        help="images are duplicates if their cosine is at least this",
    )
    command.add_argument(
        "--apart",
        type=share,
        default=0.3,
        metavar="COSINE",
        help="an identity has two groups of images if the cosine of their means is less than this",
    )
    add_findings(command, "one per identity, with a row of images for each finding")


def _overlap(args: argparse.Namespace) -> None:
    from ...curation.overlap import LABEL_MAP, LEAVE_OUT, LISTS, find_overlap, overlap_outputs, write_lists
    from ...curation.people import People

    people = People(args.first), People(args.second)
    sources = [each.data_set for each in people]
    check_findings(args, LISTS, sources)
    search = args.threshold, args.most, args.different, args.workers
    found = find_overlap(people, args.by, *search, shown("pairs of blocks"))
    write_findings(args, overlap_outputs(found), sources)
    if args.apply:
        count = write_lists(args.apply, found, args.overwrite)
        merge = "data", "merge", args.first, args.second, "OUT"
        lists = (os.path.join(args.apply, name) for name in (LEAVE_OUT, LABEL_MAP))
        left_out, joined = (command_line(*merge, *each) for each in zip(("--leave-out", "--labels"), lists))
        log.info("to leave them out: %s", left_out)
        log.info("to join them into %d identities: %s", count, joined)


def _clean(args: argparse.Namespace) -> None:
    from ...curation.clean import DUPLICATES, FAR, LISTS, SECOND, clean_outputs, find_unusual, write_lists
    from ...curation.identity import Limits
    from ...curation.people import People

    if not 0 < args.angle <= 180:
        raise InputError(f"--angle {args.angle:g}: expected an angle between 0 and 180 degrees")
    people = People(args.source)
    check_findings(args, LISTS, [people.data_set])
    limits = Limits(args.angle, args.duplicate, args.apart)
    found = find_unusual(people, args.features, limits, shown("identities"))
    write_findings(args, clean_outputs(found), [people.data_set])
    if args.apply:
        write_lists(args.apply, found, args.overwrite)
        paths = (os.path.join(args.apply, name) for name in (FAR, DUPLICATES, SECOND))
        merge = command_line("data", "merge", args.source, "OUT", "--leave-out-images", *paths)
        log.info("to leave out these images: %s", merge)
