"""Writes identities of one or several data sets with new labels, several as one."""

import contextlib
import itertools
import os
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from ...errors import InputError
from ..progress import Progress
from ..records.data_set import Grouped
from ..records.record_writer import RecordWriter, record_files
from .copying import CopySource
from .identity_lists import JoinedIdentity


class Written(NamedTuple):
    """What a data set that was written holds."""

    num_images: int
    num_identities: int


def check_left(writer: RecordWriter, out: str) -> None:
    """Raise InputError if no image was written to the data set `out`."""
    if not writer.num_images:
        raise InputError(f"{out}: no readable image would be in it")


def write_joined(
    path: str,
    sources: Sequence[CopySource],
    groups: Sequence[Grouped],
    joined: Sequence[JoinedIdentity],
    progress: Progress = iter,
) -> Tuple[Written, List[str]]:
    """Write a record file in which identities have new labels.

    Args:
        path: of the record file.
        sources: to copy from.
        groups: their images by identity.
        joined: identities, ascending by the new labels 0, 1, ...; those of one label become one identity.
        progress: wraps the iteration over the new identities.

    Returns:
        Written, and the name of each new identity: that of the first which it is joined of.

    Raises:
        InputError: a record cannot be read, or none of an identity can.
    """
    names = _names(sources, groups, joined)  # before any is copied
    stored: List[str] = []
    with record_files(path) as writer, contextlib.ExitStack() as stack:
        readers = [
            stack.enter_context(contextlib.closing(source.read_in_groups(_keys(grouped, joined, number), iter)))
            for number, (source, grouped) in enumerate(zip(sources, groups))
        ]
        parts = [list(part) for _, part in itertools.groupby(range(len(joined)), key=lambda place: joined[place].new)]
        for part in progress(parts):
            images = [image for place in part for image, _ in next(readers[joined[place].source])]
            stored.append(names[part[0]])
            if not images:
                raise InputError(f"no image of identity {stored[-1]} can be read: leave it out of the label map")
            writer.write_identity(images)
        for reader in readers:
            next(reader, None)  # which logs the bad records
        check_left(writer, os.path.dirname(path))
        writer.finish()
    return Written(writer.num_images, len(stored)), stored


def _keys(grouped: Grouped, joined: Sequence[JoinedIdentity], source: int) -> List[np.ndarray]:
    """Record numbers of each identity of a source, in the order in which they are written."""
    places = [each.place for each in joined if each.source == source]
    return [grouped.keys[grouped.edges[place] : grouped.edges[place + 1]] for place in places]


def _names(sources: Sequence[CopySource], groups: Sequence[Grouped], joined: Sequence[JoinedIdentity]) -> List[str]:
    """Name of each identity in its source, after the number of the source and a slash if there are several."""
    known = [source.names(grouped, range(len(grouped.labels))) for source, grouped in zip(sources, groups)]
    prefixes = [f"{number}/" if len(sources) > 1 else "" for number in range(1, len(sources) + 1)]
    return [prefixes[each.source] + known[each.source][each.place] for each in joined]
