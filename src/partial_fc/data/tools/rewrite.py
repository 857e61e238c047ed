"""Merging, splitting and shuffling data sets. Images are copied byte for byte."""

import contextlib
import os
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ...errors import InputError
from ...randomness import generator
from ..progress import Progress
from ..records.data_set import Grouped, prepared_output, write_notes
from ..records.identity_ranges import identities_in_runs
from ..records.record_writer import record_files
from .copying import ONE_BY_ONE, CopySource, Reading
from .identity_lists import read_identities, read_joined, read_leave_out
from .join import Written, check_left, write_joined


def merge(
    sources: Sequence[str],
    out: str,
    leave_out: Optional[str] = None,
    overwrite: bool = False,
    progress: Progress = iter,
    reading: Reading = ONE_BY_ONE,
    labels: Optional[str] = None,
) -> Written:
    """Write the images of all sources, identity by identity; labels of the second follow those of the first.

    Labels are dense: identities without images are dropped. `identities.txt` has the names of the sources, or their
    labels, after the number of the source and a slash if there are several; of identities that are joined that of the
    first.

    Args:
        sources: folders or paths of record files.
        out: folder of the files, made where missing.
        leave_out: path of a file of identities to leave out, see `read_leave_out`.
        overwrite: whether a data set in `out` may be replaced.
        progress: wraps the iteration over the identities of a source.
        reading: how records are read; its share is that of each source; it lists images to leave out of one source
            only.
        labels: path of a file with the labels of `out`, see `read_joined`; identities that it lacks are left out.

    Raises:
        InputError: a source is damaged, images differ in size, the file `leave_out` or `labels` is wrong or leaves out
            everything, or the output exists.
    """
    if reading.leave_out and len(sources) > 1:
        raise InputError("`leave_out_images` lists records of one data set: merge each alone first, then the results")
    sets = [CopySource(source, reading) for source in sources]
    size = _common_size(sets)
    groups = [each.grouped() for each in sets]
    joined = read_joined(labels, groups) if labels is not None else None
    parts = [_Part(*each) for each in zip(sets, groups, _without(groups, leave_out))]
    with prepared_output(out, [each.data_set for each in sets], overwrite) as path:
        if joined:
            written, names = write_joined(path, sets, groups, joined, progress)
        else:
            written, names = _write_merged(path, parts, progress)
        write_notes(out, len(names), size, names)
    return written


class _Part(NamedTuple):
    """The identities of a source that are copied: `indices` in `grouped`, (n,) int64."""

    source: CopySource
    grouped: Grouped
    indices: np.ndarray


def _without(groups, leave_out):
    """Indices of the identities in each Grouped that the file `leave_out` does not list."""
    masks = [np.ones(len(grouped.labels), bool) for grouped in groups]
    if leave_out is not None:
        for source, index in read_leave_out(leave_out, groups):
            masks[source][index] = False
    if not any(mask.any() for mask in masks):
        raise InputError(f"{leave_out}: leaves out every identity")
    return [np.flatnonzero(mask) for mask in masks]


def _write_merged(path, parts, progress):
    """Write the record file; returns Written, and the names by label."""
    stored = []
    names = [part.source.names(part.grouped, part.indices) for part in parts]  # before any is copied
    with record_files(path) as writer:
        for number, (part, own) in enumerate(zip(parts, names), start=1):
            prefix = f"{number}/" if len(parts) > 1 else ""
            for _, name, images in part.source.identities(part.grouped, part.indices, own, progress):
                writer.write_identity(images)
                stored.append(prefix + name)
        check_left(writer, os.path.dirname(path))
        writer.finish()
    return Written(writer.num_images, len(stored)), stored


def split(
    source: str,
    out: str,
    held_out: str,
    share: Optional[float] = None,
    identities: Optional[str] = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = iter,
    reading: Reading = ONE_BY_ONE,
) -> Tuple[Written, Written]:
    """Write some identities to one data set and the rest to another, each with dense labels.

    Args:
        source: folder or path of a record file.
        out: folder of the rest.
        held_out: folder of the identities that are drawn or listed.
        share: of the identities to draw, between 0 and 1; or
        identities: path of a file with one per line: its name in `identities.txt`, or else its label.
        seed: of the draw.
        overwrite: whether data sets in the two folders may be replaced.
        progress: wraps the iteration over the identities.
        reading: how records are read.

    Returns:
        Written of `out` and of `held_out`.

    Raises:
        InputError: the source is damaged, arguments are wrong, one of the sides has no identity, an output exists.
    """
    if os.path.realpath(out) == os.path.realpath(held_out):
        raise InputError(f"{out}: the two parts need different folders")
    copied = CopySource(source, reading)
    grouped = copied.grouped()
    held = choose_held_out(copied, grouped, share, identities, seed)
    folders = (out, held_out)
    with contextlib.ExitStack() as outputs:
        paths = [outputs.enter_context(prepared_output(folder, [copied.data_set], overwrite)) for folder in folders]
        written, names = _write_split(paths, copied, grouped, held, progress)
        for folder, own in zip(folders, names):
            write_notes(folder, len(own), copied.size, own)
    return written


def _write_split(paths, copied, grouped, held, progress):
    """Write the record files of the rest and of the identities `held`; returns Written and names by label of both."""
    indices = range(len(grouped.labels))
    stored: Tuple[List[str], List[str]] = [], []
    with record_files(paths[0]) as rest_writer, record_files(paths[1]) as held_writer:
        writers = (rest_writer, held_writer)
        for index, name, images in copied.identities(grouped, indices, copied.names(grouped, indices), progress):
            side = int(held[index])
            writers[side].write_identity(images)
            stored[side].append(name)
        for writer, path in zip(writers, paths):
            check_left(writer, os.path.dirname(path))
            writer.finish()
    return tuple(Written(writer.num_images, len(own)) for writer, own in zip(writers, stored)), stored


def shuffle(
    source: str,
    out: str,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = iter,
    reading: Reading = ONE_BY_ONE,
) -> Written:
    """Write a plain file of the images in random order, for programs that read it sequentially.

    Labels stay as they are, records are numbered from 1 on. There are no records of ranges; `property` has the number
    of identities.

    Args:
        source: folder or path of a record file.
        out: folder of the files, made where missing.
        seed: of the order.
        overwrite: whether a data set in `out` may be replaced.
        progress: wraps the iteration over the images.
        reading: how records are read.

    Raises:
        InputError: the source is damaged, or the output exists.
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


def choose_held_out(
    copied: CopySource,
    grouped: Grouped,
    share: Optional[float],
    identities: Optional[str],
    seed: int,
    number: Optional[int] = None,
) -> np.ndarray:
    """Identities to hold out, some but not all.

    Args:
        copied: the source.
        grouped: its images by identity.
        share: of the identities to draw, between 0 and 1; or
        identities: path of a file, see `read_identities`; or
        number: of identities to draw.
        seed: of the draw.

    Returns:
        For each identity of `grouped` whether it is held out, (n,) bool.

    Raises:
        InputError: arguments are wrong, or one of the sides has no identity.
    """
    count = len(grouped.labels)
    if identities is not None:
        held = read_identities(identities, copied.data_set, grouped)
    else:
        if number is None:
            share = 0.0 if share is None else share
            if not 0 < share < 1:
                raise InputError(f"--share {share:g}: expected a number between 0 and 1")
            number = round(share * count)
        held = np.zeros(count, bool)
        held[generator(seed, "split").permutation(count)[:number]] = True
    if not 0 < np.count_nonzero(held) < count:
        raise InputError(
            f"{np.count_nonzero(held)} of the {count} identities of {copied.records.path} would be held out: "
            "at least one is needed on each side"
        )
    return held
