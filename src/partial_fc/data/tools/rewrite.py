"""New data sets of the records of others: merged, split or shuffled. Images are copied byte for byte."""

import contextlib
import os
from typing import NamedTuple

import numpy as np

from ...errors import InputError
from ...randomness import generator
from ..records.data_set import prepared_output, write_notes
from ..records.identity_ranges import identities_in_runs
from ..records.record_writer import record_files
from .copying import ONE_BY_ONE, CopySource
from .identity_lists import read_identities, read_leave_out


class Written(NamedTuple):
    """What a data set that was written holds."""

    num_images: int
    num_identities: int


def merge(sources, out, leave_out=None, overwrite=False, progress=iter, reading=ONE_BY_ONE):
    """Write the images of all sources, identity by identity; labels of the second follow those of the first.

    Labels are dense: identities without images are dropped. `identities.txt` has the names of the sources, or their
    labels, after the number of the source and a slash where there are several.

    Args:
        sources: folders or paths of record files.
        out: folder of the files, made where missing.
        leave_out: path of a file of identities to leave out, see `read_leave_out`.
        overwrite: whether a data set in `out` may be replaced.
        progress: wraps the iteration over the identities of a source, to show how far it is.
        reading: Reading. Its share is that of each source.

    Returns:
        Written.

    Raises:
        InputError: sources that are damaged or whose images differ in size, a wrong file `leave_out`, nothing left, or
            an output that is there already.
    """
    sets = [CopySource(source, reading) for source in sources]
    size = _common_size(sets)
    groups = [each.grouped() for each in sets]
    chosen = [np.ones(len(grouped.labels), bool) for grouped in groups]
    if leave_out is not None:
        for source, label in read_leave_out(leave_out, groups):
            chosen[source][label] = False
    chosen = [np.flatnonzero(mask) for mask in chosen]
    if not any(len(indices) for indices in chosen):
        raise InputError(f"{leave_out}: leaves out every identity")
    names = [each.names(grouped, indices) for each, grouped, indices in zip(sets, groups, chosen)]
    stored = []
    with prepared_output(out, [each.data_set for each in sets], overwrite) as path:
        with record_files(path) as writer:
            for number, (each, *which) in enumerate(zip(sets, groups, chosen, names), start=1):
                prefix = f"{number}/" if len(sets) > 1 else ""
                for _, name, images in each.identities(*which, progress):
                    writer.write_identity(images)
                    stored.append(prefix + name)
            check_left(writer, out)
            writer.finish()
        write_notes(out, len(stored), size, stored)
    return Written(writer.num_images, len(stored))


def split(
    source, out, held_out, share=None, identities=None, seed=0, overwrite=False, progress=iter, reading=ONE_BY_ONE
):
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
        reading: Reading.

    Returns:
        Written of `out` and of `held_out`.

    Raises:
        InputError: a damaged source, wrong arguments, no identity on one of the sides, outputs that are there already.
    """
    if os.path.realpath(out) == os.path.realpath(held_out):
        raise InputError(f"{out}: the two parts need different folders")
    copied = CopySource(source, reading)
    grouped = copied.grouped()
    count = len(grouped.labels)
    held = choose_held_out(copied, grouped, share, identities, seed)
    names = copied.names(grouped, range(count))
    folders, stored = (out, held_out), ([], [])
    with contextlib.ExitStack() as outputs:
        paths = [outputs.enter_context(prepared_output(folder, [copied.data_set], overwrite)) for folder in folders]
        with record_files(paths[0]) as rest_writer, record_files(paths[1]) as held_writer:
            writers = (rest_writer, held_writer)
            for index, name, images in copied.identities(grouped, range(count), names, progress):
                side = int(held[index])
                writers[side].write_identity(images)
                stored[side].append(name)
            for writer, folder in zip(writers, folders):
                check_left(writer, folder)
                writer.finish()
        for folder, own in zip(folders, stored):
            write_notes(folder, len(own), copied.size, own)
    return tuple(Written(writer.num_images, len(own)) for writer, own in zip(writers, stored))


def shuffle(source, out, seed=0, overwrite=False, progress=iter, reading=ONE_BY_ONE):
    """Write a plain file of the images in random order, for programs that read it from one end to the other.

    Labels stay as they are, records are numbered from 1 on. Without records of identities, `property` says how many
    there are.

    Args:
        source: folder or path of a record file.
        out: folder of the files, made where missing.
        seed: of the order.
        overwrite: whether a data set in `out` may be replaced.
        progress: wraps the iteration over the images, to show how far it is.
        reading: Reading.

    Returns:
        Written.

    Raises:
        InputError: a damaged source, or an output that is there already.
    """
    copied = CopySource(source, reading)
    records, names = copied.records, copied.data_set.names()
    listed = 0 if identities_in_runs(records) else records.num_identities or 0
    num_identities = max(listed, int(records.labels(copied.bad).max()) + 1)
    order = generator(seed, "shuffle").permutation(records.keys)
    with prepared_output(out, [copied.data_set], overwrite) as path:
        with record_files(path) as writer:
            for images in copied.read_in_groups(order.reshape(-1, 1), progress):
                for image, label in images:
                    writer.write_image(image, label)
            check_left(writer, out)
        write_notes(out, num_identities, copied.size, names)
    return Written(writer.num_images, num_identities)


def _common_size(sets):
    """(height, width) of the images of all CopySources."""
    for each in sets:
        if each.size != sets[0].size:
            raise InputError(
                f"{each.records.path} has images of {each.size[0]}x{each.size[1]} pixels (height x width), "
                f"{sets[0].records.path} of {sets[0].size[0]}x{sets[0].size[1]}: pack one of them again with `--size`"
            )
    return sets[0].size


def check_left(writer, out):
    """Raise InputError if a RecordWriter has written no image to the data set `out`."""
    if not writer.num_images:
        raise InputError(f"{out}: not one image that can be read would be in it")


def choose_held_out(copied, grouped, share, identities, seed, number=None):
    """Identities to hold out, some but not all.

    Args:
        copied: CopySource.
        grouped: its Grouped.
        share: of the identities to draw, between 0 and 1; or
        identities: path of a file, see `read_identities`; or
        number: of identities to draw.
        seed: of what is drawn.

    Returns:
        (n,) bool.

    Raises:
        InputError: wrong arguments, no identity on one of the sides.
    """
    count = len(grouped.labels)
    if identities is not None:
        held = read_identities(identities, copied.data_set, grouped)
    elif number is None and not 0 < share < 1:
        raise InputError(f"--share {share:g}: expected a number between 0 and 1")
    else:
        held = np.zeros(count, bool)
        held[generator(seed, "split").permutation(count)[: round(share * count) if number is None else number]] = True
    if not 0 < np.count_nonzero(held) < count:
        raise InputError(
            f"{np.count_nonzero(held)} of the {count} identities of {copied.records.path} would be held out: "
            "at least one is needed on each side"
        )
    return held
