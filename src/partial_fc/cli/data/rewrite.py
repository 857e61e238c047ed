"""`partial-fc data merge`, `split`, `pairs`, `shuffle` and `index`."""

import logging
import os

from ...data.progress import byte_progress, progress
from ...errors import InputError
from .arguments import SOURCE, add_reading, positive, reading

log = logging.getLogger("partial_fc")


def add(commands):
    """Add the commands to argparse's sub-parsers."""
    _add_merge(commands)
    _add_split(commands)
    _add_pairs(commands)
    _add_shuffle(commands)
    _add_index(commands)


def _add_merge(commands):
    command = commands.add_parser(
        "merge",
        help="several data sets to one",
        description="Write the images of all sources to one data set, identity by identity, byte for byte. Labels of "
        "the second source follow those of the first, without gaps.",
    )
    command.add_argument("sources", nargs="+", metavar="SOURCE", help=SOURCE)
    command.add_argument("out", metavar="OUT", help="folder of the files to write")
    command.add_argument(
        "--leave-out",
        metavar="FILE",
        help="identities to leave out, such as those that another source has, too: lines SOURCE LABEL, where SOURCE is "
        "1 for the first source",
    )
    _add_common(command)
    command.set_defaults(run=_merge)


def _add_split(commands):
    command = commands.add_parser(
        "split",
        help="hold identities out from a data set",
        description="Write the identities that are drawn or listed to HELD_OUT, the others to OUT. Labels of both have "
        "no gaps; identities.txt has the name of each, or its label in SOURCE.",
    )
    command.add_argument("source", metavar="SOURCE", help=SOURCE)
    command.add_argument("out", metavar="OUT", help="folder of the rest")
    command.add_argument("held_out", metavar="HELD_OUT", help="folder of the identities held out")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--share", type=float, help="of the identities, drawn at random: 0.1 for a tenth")
    which.add_argument(
        "--identities",
        metavar="FILE",
        help="names in SOURCE's identities.txt or labels, a line each; what is both counts as a name",
    )
    command.add_argument("--seed", type=int, default=0, help="of what is drawn (%(default)s)")
    _add_common(command)
    command.set_defaults(run=_split)


def _add_pairs(commands):
    command = commands.add_parser(
        "pairs",
        help="a verification set of people held out",
        description="Hold identities out from a data set: write NAME.bin, pairs of their images, drawn at random, to "
        "OUT, NAME-identities.txt with their names, and a data set of all the others. Images are copied byte for byte.",
    )
    command.add_argument("source", metavar="SOURCE", help=SOURCE)
    command.add_argument("out", metavar="OUT", help="folder of the files to write")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--people", type=positive, metavar="N", help="how many identities to hold out, drawn at random")
    which.add_argument("--share", type=float, help="of the identities, drawn at random: 0.1 for a tenth")
    which.add_argument(
        "--identities", metavar="FILE", help="names in SOURCE's identities.txt or labels to hold out, a line each"
    )
    command.add_argument(
        "--random-pairs",
        type=positive,
        default=3000,
        metavar="N",
        help="pairs of the same identity, and as many of different ones (%(default)s, as LFW has)",
    )
    command.add_argument("--name", default="heldout", help="NAME (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of what is drawn (%(default)s)")
    command.add_argument(
        "--only-pairs",
        action="store_true",
        help="write no data set; without --people, --share and --identities, the pairs are of all identities then",
    )
    _add_common(command)
    command.set_defaults(run=_pairs)


def _add_shuffle(commands):
    command = commands.add_parser(
        "shuffle",
        help="images in random order",
        description="Write a plain file of the images in random order, for programs that read it from one end to the "
        "other, as MXNet's ImageRecordIter does. Training with `partial-fc train` does not need it.",
    )
    command.add_argument("source", metavar="SOURCE", help=SOURCE)
    command.add_argument("out", metavar="OUT", help="folder of the files to write")
    command.add_argument("--seed", type=int, default=0, help="of the order (%(default)s)")
    _add_common(command)
    command.set_defaults(run=_shuffle)


def _add_index(commands):
    command = commands.add_parser(
        "index",
        help="rebuild train.idx",
        description="Write the index of a record file anew, from the headers of its records: where it is missing, "
        "damaged, or of another file. Records that are damaged themselves are left out.",
    )
    command.add_argument("source", metavar="DIR", help="folder with train.rec, or path of a .rec file")
    command.add_argument("--overwrite", action="store_true", help="replace the index that is there")
    command.set_defaults(run=_index)


def _add_common(command):
    add_reading(command, "one that cannot be read; for `skip` also what is no image, or of another size")
    command.add_argument("--overwrite", action="store_true", help="replace a data set that is there")


def _merge(args):
    from ...data.tools.rewrite import merge

    _tell(args.out, merge(args.sources, args.out, args.leave_out, args.overwrite, _identities, reading(args)))


def _split(args):
    from ...data.tools.rewrite import split

    written = split(
        args.source,
        args.out,
        args.held_out,
        args.share,
        args.identities,
        args.seed,
        args.overwrite,
        _identities,
        reading(args),
    )
    _tell(args.out, written[0])
    _tell(args.held_out, written[1])


def _pairs(args):
    from ...data.tools.hold_out import hold_out_pairs
    from ...data.verification_set import verification_file

    if not args.only_pairs and (args.people, args.share, args.identities) == (None, None, None):
        raise InputError("give --people, --share or --identities: who is held out; or --only-pairs")
    rest, num_pairs, num_identities = hold_out_pairs(
        args.source,
        args.out,
        args.random_pairs,
        args.name,
        args.people,
        args.share,
        args.identities,
        args.seed,
        args.only_pairs,
        args.overwrite,
        _identities,
        reading(args),
    )
    path = os.path.join(args.out, verification_file(args.name))
    log.info("%s: %d pairs of %d identities", path, num_pairs, num_identities)
    if rest:
        _tell(args.out, rest)
        log.info("train on it: --rec %s --set val_targets=%s", os.path.join(args.out, "train.rec"), args.name)


def _shuffle(args):
    from ...data.tools.rewrite import shuffle

    written = shuffle(
        args.source, args.out, args.seed, args.overwrite, lambda keys: progress(keys, "images"), reading(args)
    )
    _tell(args.out, written)


def _index(args):
    from ...data.records.data_set import record_path
    from ...data.records.index import index_path, rebuild_index

    path = record_path(args.source)
    count = rebuild_index(path, byte_progress, args.overwrite)
    log.info("%s: %d records", index_path(path), count)


def _identities(things):
    return progress(things, "identities")


def _tell(out, written):
    log.info("%s: %d images of %d identities", out, *written)
