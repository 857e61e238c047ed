"""New data sets of the records of others: merged, split or shuffled. Images are copied byte for byte, one by one."""

import logging
import os
import re
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..randomness import generator
from .data_set import DataSet, prepare_output, write_notes
from .record_writer import record_files

log = logging.getLogger("partial_fc")


class Written(NamedTuple):
    """What a data set that was written holds."""

    num_images: int
    num_identities: int


def merge(sources, out, leave_out=None, overwrite=False, progress=iter):
    """Write the images of all sources, identity by identity; labels of the second follow those of the first.

    Labels are dense: identities without images are dropped. `identities.txt` has the names of the sources, or their
    labels, after the number of the source and a slash where there are several.

    Args:
        sources: folders or paths of record files.
        out: folder of the files, made where missing.
        leave_out: path of a file of identities to leave out, see `read_leave_out`.
        overwrite: whether a data set in `out` may be replaced.
        progress: wraps the iteration over the identities of a source, to show how far it is.

    Returns:
        Written.

    Raises:
        InputError: sources that are damaged or whose images differ in size, a wrong file `leave_out`, nothing left, or
            an output that is there already.
    """
    sets = [DataSet(source) for source in sources]
    size = _common_size(sets)
    groups = [_grouped(each) for each in sets]
    chosen = [np.ones(len(grouped.labels), bool) for grouped in groups]
    if leave_out is not None:
        for source, label in read_leave_out(leave_out, groups):
            chosen[source][label] = False
    chosen = [np.flatnonzero(mask) for mask in chosen]
    if not any(len(indices) for indices in chosen):
        raise InputError(f"{leave_out}: leaves out every identity")
    names = []
    for number, (each, grouped, indices) in enumerate(zip(sets, groups, chosen), start=1):
        prefix = f"{number}/" if len(sets) > 1 else ""
        names += [prefix + name for name in each.names_of(grouped.labels[indices].tolist())]
    path = prepare_output(out, sets, overwrite)
    with record_files(path) as writer:
        for each, grouped, indices in zip(sets, groups, chosen):
            for index in progress(indices):
                writer.write_identity(_images(each, grouped, index))
        writer.finish()
    write_notes(out, len(names), size, names)
    return Written(writer.num_images, len(names))


def read_leave_out(path, groups):
    """Identities in a file of lines `SOURCE LABEL`, the source counted from 1; blank lines and # comments are skipped.

    Args:
        path: of the file.
        groups: Grouped of each source.

    Returns:
        List of (source, counted from 0, and index of the identity in its Grouped).

    Raises:
        InputError: with the line's number, where it is something else, or no identity of that source.
    """
    found = []
    for where, line in _lines(path):
        match = re.fullmatch(r"([0-9]{1,18})\s+([0-9]{1,18})", line)
        if not match:
            raise InputError(f"{where}: expected SOURCE LABEL, two whole numbers, got {line!r}")
        source, label = (int(number) for number in match.groups())
        if not 1 <= source <= len(groups):
            raise InputError(f"{where}: there is no source {source}, they are counted from 1 to {len(groups)}")
        index = _index_of(groups[source - 1].labels, label)
        if index is None:
            raise InputError(f"{where}: source {source} has no images of label {label}")
        found.append((source - 1, index))
    return found


def split(source, out, held_out, share=None, identities=None, seed=0, overwrite=False, progress=iter):
    """Write some identities to one data set and the rest to another, each with dense labels.

    Args:
        source: folder or path of a record file.
        out: folder of the rest.
        held_out: folder of the identities that are drawn or listed.
        share: of the identities to draw, between 0 and 1; or
        identities: path of a file with a line for each: its name in `identities.txt`, or else its label.
        seed: of what is drawn.
        overwrite: whether data sets in the two folders may be replaced.
        progress: wraps the iteration over the identities, to show how far it is.

    Returns:
        Written of `out` and of `held_out`.

    Raises:
        InputError: a damaged source, wrong arguments, no identity on one of the sides, outputs that are there already.
    """
    if os.path.realpath(out) == os.path.realpath(held_out):
        raise InputError(f"{out}: the two parts need different folders")
    data_set = DataSet(source)
    size, grouped = data_set.image_size(), _grouped(data_set)
    count = len(grouped.labels)
    if identities is not None:
        held = _listed(identities, data_set, grouped)
    else:
        held = _drawn(count, share, seed)
    if not 0 < np.count_nonzero(held) < count:
        raise InputError(
            f"{np.count_nonzero(held)} of the {count} identities of {data_set.records.path} would be held out: "
            "at least one is needed on each side"
        )
    names = data_set.names_of(grouped.labels.tolist())
    paths = [prepare_output(folder, [data_set], overwrite) for folder in (out, held_out)]
    with record_files(paths[0]) as rest_writer, record_files(paths[1]) as held_writer:
        writers = (rest_writer, held_writer)
        for index in progress(range(count)):
            writers[int(held[index])].write_identity(_images(data_set, grouped, index))
        for writer in writers:
            writer.finish()
    for folder, side in ((out, ~held), (held_out, held)):
        write_notes(folder, np.count_nonzero(side), size, [names[index] for index in np.flatnonzero(side)])
    return tuple(Written(writer.num_images, len(writer.ranges)) for writer in writers)


def shuffle(source, out, seed=0, overwrite=False, progress=iter):
    """Write a plain file of the images in random order, for programs that read it from one end to the other.

    Labels stay as they are, records are numbered from 1 on. Without records of identities, `property` tells how many
    there are.

    Args:
        source: folder or path of a record file.
        out: folder of the files, made where missing.
        seed: of the order.
        overwrite: whether a data set in `out` may be replaced.
        progress: wraps the iteration over the record numbers, to show how far it is.

    Returns:
        Written.

    Raises:
        InputError: a damaged source, or an output that is there already.
    """
    data_set = DataSet(source)
    records, size, names = data_set.records, data_set.image_size(), data_set.names()
    num_identities = max(records.num_identities or 0, int(records.labels().max()) + 1)
    path = prepare_output(out, [data_set], overwrite)
    order = generator(seed, "shuffle").permutation(records.keys)
    with record_files(path) as writer:
        for key in progress(order):
            writer.write_image(*records.read(key))
    write_notes(out, num_identities, size, names)
    return Written(writer.num_images, num_identities)


def _common_size(sets):
    """(height, width) of the images of all DataSets."""
    sizes = [each.image_size() for each in sets]
    for each, size in zip(sets, sizes):
        if size != sizes[0]:
            raise InputError(
                f"{each.records.path} has images of {size[0]}x{size[1]} pixels (height x width), "
                f"{sets[0].records.path} of {sizes[0][0]}x{sizes[0][1]}: pack one of them again with `--size`"
            )
    return sizes[0]


def _grouped(data_set):
    grouped = data_set.grouped()
    count = max(data_set.records.num_identities or 0, int(grouped.labels[-1]) + 1)
    if count > len(grouped.labels):
        log.info(
            "%s: %d of %d identities have no images and are dropped", data_set.records.path,
            count - len(grouped.labels), count,
        )
    return grouped


def _images(data_set, grouped, index):
    for key in grouped.keys[grouped.edges[index] : grouped.edges[index + 1]]:
        yield data_set.records.read_record(key).content


def _drawn(count, share, seed):
    """(count,) bool: a share of identities drawn at random."""
    if not 0 < share < 1:
        raise InputError(f"--share {share:g}: expected a number between 0 and 1")
    held = np.zeros(count, bool)
    held[generator(seed, "split").permutation(count)[: round(share * count)]] = True
    return held


def _listed(path, data_set, grouped):
    """(n,) bool: the identities in a file of names and labels. A name counts for all the identities that have it."""
    labels_of = {}
    for label, name in enumerate(data_set.names() or []):
        labels_of.setdefault(name, []).append(label)
    held = np.zeros(len(grouped.labels), bool)
    for where, line in _lines(path, comments=False):  # a name may begin with #
        labels = labels_of.get(line) or ([int(line)] if re.fullmatch("[0-9]{1,18}", line) else [])
        indices = [_index_of(grouped.labels, label) for label in labels]
        if not indices or None in indices:
            raise InputError(f"{where}: {line!r} is neither the name nor the label of an identity with images")
        held[indices] = True
    return held


def _index_of(labels, label):
    """Where `label` is in the ascending array `labels`, or None."""
    index = int(np.searchsorted(labels, label))
    return index if index < len(labels) and labels[index] == label else None


def _lines(path, comments=True):
    """(path and number for messages, text) of the lines of a file that are not blank."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                line = (line.partition("#")[0] if comments else line).strip()
                if line:
                    yield f"{path}, line {number}", line
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
