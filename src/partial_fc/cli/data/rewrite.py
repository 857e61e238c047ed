"""`partial-fc data merge`, `split`, `pairs`, `shuffle` and `index`."""

import argparse
import logging
import os
from typing import TYPE_CHECKING, Any, Dict

from ...data.progress import byte_progress
from ...errors import InputError
from ..options import RECORDS, add_overwrite, add_seed, shown
from ..parser import positive, share
from ..run import add_command
from .reading import add_reading, reading

if TYPE_CHECKING:
    from ...data.tools.rewrite import Written

log = logging.getLogger("partial_fc")

_MERGE = """\
Write the images of all sources to one data set, identity by identity, byte for byte. Labels of the second source follow
those of the first, without gaps."""
_SPLIT = """\
Hold identities out, drawn at random or from a list: write them to HELD_OUT, and all others to OUT. The labels of both
have no gaps; identities.txt has the name of each identity, or its label in SOURCE."""
_PAIRS = """\
Hold identities out from a data set, for a test on people that the training has not seen. Writes to OUT: NAME.bin,
random pairs of images of these identities; NAME-identities.txt, their names; and a data set of all other identities.
Images are copied byte for byte."""
_SHUFFLE = """\
Write a record file of the images in random order, for programs that read it from beginning to end, such as MXNet's
ImageRecordIter. `partial-fc train` does not need it."""
_INDEX = """\
Rebuild train.idx from the headers of the records, where it is missing, damaged, or belongs to another file. Damaged
records are left out."""
_OUT = "folder of the new data set"


def add(commands: Any) -> None:
    """Add the commands to argparse's sub-parsers."""
    _add_merge(commands)
    _add_split(commands)
    _add_pairs(commands)
    _add_shuffle(commands)
    _add_index(commands)


def _add_merge(commands: Any) -> None:
    command = add_command(
        commands,
        "merge",
        _merge,
        help="several data sets to one",
        description=_MERGE,
        example="partial-fc data merge data/all other/records data/both",
    )
    command.add_argument("sources", nargs="+", metavar="SOURCE", help=RECORDS)
    command.add_argument("out", metavar="OUT", help=_OUT)
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--leave-out",
        metavar="FILE",
        help="identities to leave out, such as those that two sources share: lines SOURCE LABEL, where SOURCE is 1 for "
        "the first source (default: none)",
    )
    which.add_argument(
        "--labels",
        metavar="FILE",
        help="labels of the identities of OUT: lines NEW OLD, or NEW SOURCE OLD with several sources; identities with "
        "the same new label are joined, and those not listed are left out (default: the order of the sources)",
    )
    _add_images(command)
    _add_copying(command)


def _add_split(commands: Any) -> None:
    command = add_command(
        commands,
        "split",
        _split,
        help="hold identities out from a data set",
        description=_SPLIT,
        example="partial-fc data split data/all data/train data/test --share 0.1",
    )
    command.add_argument("source", metavar="SOURCE", help=RECORDS)
    command.add_argument("out", metavar="OUT", help="folder of the remaining identities")
    command.add_argument("held_out", metavar="HELD_OUT", help="folder of the identities held out")
    _add_who(command.add_mutually_exclusive_group(required=True))
    add_seed(command, "the random choice of identities")
    _add_images(command)
    _add_copying(command)


def _add_pairs(commands: Any) -> None:
    command = add_command(
        commands,
        "pairs",
        _pairs,
        help="a verification set of identities held out",
        description=_PAIRS,
        example="partial-fc data pairs data/all data/faces --share 0.1 --random-pairs 1000",
    )
    command.add_argument("source", metavar="SOURCE", help=RECORDS)
    command.add_argument("out", metavar="OUT", help=_OUT)
    who = command.add_mutually_exclusive_group()
    who.add_argument(
        "--people", type=positive, metavar="N", help="hold out N random identities (default: see --only-pairs)"
    )
    _add_who(who)
    command.add_argument(
        "--random-pairs",
        type=positive,
        default=3000,
        metavar="N",
        help="N pairs of the same identity, and N of different identities",
    )
    command.add_argument("--name", default="heldout", help="name of the verification set")
    add_seed(command, "the random choice of identities and pairs")
    command.add_argument(
        "--only-pairs",
        action="store_true",
        help="write no data set; without --people, --share and --identities, the pairs are of all identities",
    )
    _add_copying(command)


def _add_shuffle(commands: Any) -> None:
    command = add_command(
        commands,
        "shuffle",
        _shuffle,
        help="images in random order",
        description=_SHUFFLE,
        example="partial-fc data shuffle data/all data/shuffled",
    )
    command.add_argument("source", metavar="SOURCE", help=RECORDS)
    command.add_argument("out", metavar="OUT", help=_OUT)
    add_seed(command, "the order")
    _add_copying(command)


def _add_index(commands: Any) -> None:
    command = add_command(
        commands,
        "index",
        _index,
        help="rebuild train.idx",
        description=_INDEX,
        example="partial-fc data index data/old --overwrite",
    )
    command.add_argument("source", metavar="SOURCE", help="folder with train.rec, or path of a .rec file")
    add_overwrite(command, "indices")


def _add_who(group: Any) -> None:
    """Add the options of the identities to hold out."""
    group.add_argument(
        "--share",
        type=share,
        metavar="SHARE",
        help="hold out this share of the identities, at random: 0.1 for a tenth (default: see the other options)",
    )
    group.add_argument(
        "--identities",
        metavar="FILE",
        help="hold out these identities: one name in SOURCE's identities.txt, or label, per line; a name takes "
        "precedence (default: see --share)",
    )


def _add_images(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--leave-out-images",
        nargs="+",
        default=[],
        metavar="FILE",
        help="lists of images to leave out, as `data clean --apply` and `centers dominant` write them: on each line "
        "number and label of a record; the rest is ignored; only for a single SOURCE (default: none)",
    )


def _add_copying(command: argparse.ArgumentParser) -> None:
    add_reading(
        command, "it cannot be read; with `skip`, also if it is not an image, or has another size than the first"
    )
    add_overwrite(command, "data sets")


def _copying(args: argparse.Namespace, unit: str = "identities") -> Dict[str, Any]:
    """The arguments that all functions which copy records have in common."""
    return dict(overwrite=args.overwrite, progress=shown(unit), reading=reading(args))


def _merge(args: argparse.Namespace) -> None:
    from ...data.tools.rewrite import merge

    _log_written(args.out, merge(args.sources, args.out, args.leave_out, labels=args.labels, **_copying(args)))


def _split(args: argparse.Namespace) -> None:
    from ...data.tools.rewrite import split

    folders = args.out, args.held_out
    written = split(args.source, *folders, args.share, args.identities, args.seed, **_copying(args))
    for folder, each in zip(folders, written):
        _log_written(folder, each)


def _pairs(args: argparse.Namespace) -> None:
    from ...data.tools.hold_out import hold_out_pairs
    from ...data.verification_set import verification_file

    who = dict(number=args.people, share=args.share, identities=args.identities)
    if not args.only_pairs and set(who.values()) == {None}:
        raise InputError("--people, --share or --identities is needed to choose who is held out, or else --only-pairs")
    rest, num_pairs, num_identities = hold_out_pairs(
        args.source,
        args.out,
        args.random_pairs,
        args.name,
        seed=args.seed,
        only_pairs=args.only_pairs,
        **who,
        **_copying(args),
    )
    path = os.path.join(args.out, verification_file(args.name))
    log.info("%s: %d pairs of %d identities", path, num_pairs, num_identities)
    if rest:
        _log_written(args.out, rest)
        log.info("train on it: --rec %s --set val_targets=%s", os.path.join(args.out, "train.rec"), args.name)


def _shuffle(args: argparse.Namespace) -> None:
    from ...data.tools.rewrite import shuffle

    _log_written(args.out, shuffle(args.source, args.out, args.seed, **_copying(args, "images")))


def _index(args: argparse.Namespace) -> None:
    from ...data.records.data_set import record_path
    from ...data.records.index import index_path, rebuild_index

    path = record_path(args.source)
    count = rebuild_index(path, byte_progress, args.overwrite)
    log.info("%s: %d records", index_path(path), count)


def _log_written(out: str, written: "Written") -> None:
    log.info("%s: %d images of %d identities", out, *written)
