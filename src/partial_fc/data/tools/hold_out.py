"""A verification set of people held out from a record file, and the records of the others to train on."""

import os
from typing import NamedTuple

import numpy as np

from ..records.data_set import RECORD_FILE, prepared_output, write_lines, write_notes
from ..records.record_writer import record_files
from ..verification_set import save_verification_set, verification_file
from .copying import ONE_BY_ONE, CopySource
from .pairs import check_enough_pairs, draw_pairs
from .rewrite import Written, check_left, choose_held_out


class HeldOut(NamedTuple):
    """`rest`: Written of the training set, None where only the pairs were wanted; `num_pairs` and `num_identities`."""

    rest: Written
    num_pairs: int
    num_identities: int


def hold_out_pairs(
    source,
    out,
    num_pairs,
    name="heldout",
    number=None,
    share=None,
    identities=None,
    seed=0,
    only_pairs=False,
    overwrite=False,
    progress=iter,
    reading=ONE_BY_ONE,
):
    """Write pairs of images of some identities as a verification set, and the records of the others beside it.

    `NAME.bin` holds the pairs, `NAME-identities.txt` the names of the identities held out, a line each, in the form
    that `identities` takes. Images are copied byte for byte. The files depend on the source and on the arguments alone.

    Args:
        source: folder or path of a record file.
        out: folder of the files, made where missing.
        num_pairs: of the same identity, and as many of different ones, see `draw_pairs`.
        name: NAME.
        number, share, identities: which are held out, see `choose_held_out`; without any of the three, all are, which
            needs `only_pairs`.
        seed: of the identities and pairs that are drawn.
        only_pairs: whether no records are written.
        overwrite: whether files in `out` may be replaced.
        progress: wraps the iteration over the identities, to show how far it is.
        reading: Reading.

    Returns:
        HeldOut.

    Raises:
        InputError: a damaged source, wrong arguments, too few images for the pairs, outputs that are there already.
    """
    files = verification_file(name), f"{name}-identities.txt"
    copied = CopySource(source, reading)
    grouped = copied.grouped()
    held = np.ones(len(grouped.labels), bool)
    if not only_pairs or (number, share, identities) != (None, None, None):
        held = choose_held_out(copied, grouped, share, identities, seed, number)
    check_enough_pairs(np.diff(grouped.edges)[held], num_pairs)
    sources, written = ([], files) if only_pairs else ([copied.data_set], (RECORD_FILE, *files))
    with prepared_output(out, sources, overwrite, written) as path:
        if only_pairs:
            names, rest = [each for _, each, _ in _read(copied, grouped, held, progress)], None
            pairs = _pairs(copied, grouped, held, num_pairs, seed)
        else:
            names, rest, pairs = _write_rest(path, copied, grouped, held, num_pairs, seed, progress)
        save_verification_set(os.path.join(out, files[0]), *pairs)
        write_lines(os.path.join(out, files[1]), names)
    return HeldOut(rest, len(pairs[1]), len(names))


def _write_rest(path, copied, grouped, held, num_pairs, seed, progress):
    """Write the records of the identities that are not held out; returns the others' names, Written, and the pairs."""
    names, stored = [], []
    with record_files(path) as writer:
        for index, identity, images in _read(copied, grouped, np.ones_like(held), progress):
            if held[index]:
                names.append(identity)  # read all the same, to know the bad records
            else:
                writer.write_identity(images)
                stored.append(identity)
        check_left(writer, os.path.dirname(path))
        writer.finish()
        pairs = _pairs(copied, grouped, held, num_pairs, seed)
    write_notes(os.path.dirname(path), len(stored), copied.size, stored)
    return names, Written(writer.num_images, len(stored)), pairs


def _read(copied, grouped, chosen, progress):
    """Yield (index, name, images) of the identities that are `chosen`, (n,) bool."""
    indices = np.flatnonzero(chosen).tolist()
    return copied.identities(grouped, indices, copied.names(grouped, indices), progress)


def _pairs(copied, grouped, held, num_pairs, seed):
    """Encoded images and issame of pairs of the identities `held`, (n,) bool; the bad records are known."""
    bad = np.array(sorted(copied.bad.keys), np.int64)
    keys = [grouped.keys[grouped.edges[index] : grouped.edges[index + 1]] for index in np.flatnonzero(held)]
    keys = [each[~np.isin(each, bad)] for each in keys]
    pairs, issame = draw_pairs([len(each) for each in keys], num_pairs, seed)
    keys = np.concatenate(keys)
    return [copied.records.read(int(keys[image]))[0] for pair in pairs for image in pair], issame
