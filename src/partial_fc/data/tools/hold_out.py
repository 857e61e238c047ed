"""A verification set of people held out from a record file, and the records of the others to train on."""

import os
from typing import List, NamedTuple, Optional

import numpy as np

from ..progress import Progress
from ..records.data_set import RECORD_FILE, Grouped, prepared_output, write_lines, write_notes
from ..records.record_writer import record_files
from ..verification_set import save_verification_set, verification_file
from .copying import ONE_BY_ONE, CopySource, Reading
from .identity_lists import identity_lines
from .join import Written, check_left
from .pairs import check_enough_pairs, draw_pairs
from .rewrite import choose_held_out


class HeldOut(NamedTuple):
    """What was written.

    Attributes:
        rest: the training set; None where only the pairs were wanted.
        num_pairs: of the verification set.
        num_identities: held out.
    """

    rest: Optional[Written]
    num_pairs: int
    num_identities: int


def hold_out_pairs(
    source: str,
    out: str,
    num_pairs: int,
    name: str = "heldout",
    number: Optional[int] = None,
    share: Optional[float] = None,
    identities: Optional[str] = None,
    seed: int = 0,
    only_pairs: bool = False,
    overwrite: bool = False,
    progress: Progress = iter,
    reading: Reading = ONE_BY_ONE,
) -> HeldOut:
    """Write pairs of images of some identities as a verification set, and the records of the others beside it.

    `NAME.bin` holds the pairs, `NAME-identities.txt` the names of the identities held out, one per line, in the form
    that `identities` takes. Images are copied byte for byte. The files depend on the source and on the arguments only.

    Args:
        source: folder or path of a record file.
        out: folder of the files, made where missing.
        num_pairs: of the same identity, and as many of different ones, see `draw_pairs`.
        name: NAME.
        number: of identities to hold out, see `choose_held_out`; or
        share: of the identities to hold out; or
        identities: path of a list of them. Without any of the three all are held out, which needs `only_pairs`.
        seed: of the identities and pairs that are drawn.
        only_pairs: whether no records are written.
        overwrite: whether files in `out` may be replaced.
        progress: wraps the iteration over the identities.
        reading: how records are read.

    Raises:
        InputError: the source is damaged, arguments are wrong, there are too few images for the pairs, or an output
            exists.
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
        chosen = _Chosen(copied, grouped, held, num_pairs, seed, [os.path.join(out, name) for name in files])
        rest, num_identities = (_only_pairs if only_pairs else _write_rest)(chosen, path, progress)
    return HeldOut(rest, 2 * num_pairs, num_identities)


class _Chosen(NamedTuple):
    """The identities held out of a source, (n,) bool, the pairs to draw from them, and the paths of both lists."""

    source: CopySource
    grouped: Grouped
    held: np.ndarray
    num_pairs: int
    seed: int
    paths: List[str]


def _only_pairs(chosen, path, progress):
    """Write the pairs and the names; returns None, and the number of identities held out."""
    labels = [int(chosen.grouped.labels[index]) for index, _, _ in _read(chosen, chosen.held, progress)]
    _write_pairs(chosen, labels)
    return None, len(labels)


def _write_rest(chosen, path, progress):
    """Also write the records of the identities that are not held out; returns Written of these, see `_only_pairs`."""
    labels, stored = [], []
    with record_files(path) as writer:
        for index, name, images in _read(chosen, np.ones_like(chosen.held), progress):
            if chosen.held[index]:
                labels.append(int(chosen.grouped.labels[index]))  # read nevertheless, to find the bad records
            else:
                writer.write_identity(images)
                stored.append(name)
        check_left(writer, os.path.dirname(path))
        writer.finish()
        _write_pairs(chosen, labels)  # if this fails, there are no records either
    write_notes(os.path.dirname(path), len(stored), chosen.source.size, stored)
    return Written(writer.num_images, len(stored)), len(labels)


def _write_pairs(chosen, labels):
    """Write the verification set, and the names of the identities `labels`."""
    pairs, names = chosen.paths
    save_verification_set(pairs, *_pairs(chosen))
    write_lines(names, identity_lines(chosen.source.data_set.names(), labels))


def _read(chosen, which, progress):
    """Yield (index, name, images) of the identities `which`, (n,) bool."""
    indices = np.flatnonzero(which).tolist()
    return chosen.source.identities(chosen.grouped, indices, chosen.source.names(chosen.grouped, indices), progress)


def _pairs(chosen):
    """Encoded images and issame of the pairs; all images held out have been read, and the bad records are known."""
    grouped, source = chosen.grouped, chosen.source
    bad = np.array(sorted(source.bad.keys), np.int64)
    groups = [grouped.keys[grouped.edges[index] : grouped.edges[index + 1]] for index in np.flatnonzero(chosen.held)]
    groups = [keys[~np.isin(keys, bad)] for keys in groups]
    pairs, issame = draw_pairs([len(keys) for keys in groups], chosen.num_pairs, chosen.seed)
    keys = np.concatenate(groups)
    return [source.records.read(int(keys[image]))[0] for pair in pairs for image in pair], issame
