"""Scalars that a run has written for TensorBoard, read back."""

import glob
import logging
import os
import struct
from typing import Dict, Iterator, List, NamedTuple

from google.protobuf.message import DecodeError
from mxboard.proto.event_pb2 import Event, SessionLog
from mxboard.record_writer import masked_crc32c

log = logging.getLogger("partial_fc")

_HEAD = struct.Struct("<QI")  # length of an event, checksum of the length
_CHECKSUM = struct.Struct("<I")
_LONGEST = 2**20  # bytes of an event


class Series(NamedTuple):
    """A scalar by update, ascending."""

    updates: List[int]
    values: List[float]


def read_scalars(folder: str) -> Dict[str, Series]:
    """The scalars in the event files of a folder, by name.

    As TensorBoard does, a start of the program discards what was written before of its updates and later ones. A file
    counts up to its first damaged event, such as one that was not written in full; a warning names a damaged file.

    Raises:
        OSError: a file cannot be read.
    """
    found: Dict[str, Series] = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "events.out.tfevents.*"))):
        for event in _events(path):
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                for series in found.values():
                    _discard(series, event.step)
            for value in event.summary.value:
                series = found.setdefault(value.tag, Series([], []))
                series.updates.append(event.step)
                series.values.append(value.simple_value)
    return found


def _discard(series: Series, first: int) -> None:
    """Remove the updates from `first` on."""
    kept = sum(update < first for update in series.updates)
    del series.updates[kept:], series.values[kept:]


def _events(path: str) -> Iterator[Event]:
    with open(path, "rb") as file:
        while True:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            length, checksum = _HEAD.unpack(head)
            whole = masked_crc32c(head[:8]) == checksum and length <= _LONGEST
            content = file.read(length) if whole else b""
            end = file.read(_CHECKSUM.size)
            if whole and len(end) < _CHECKSUM.size:
                return
            try:
                if not whole or masked_crc32c(content) != _CHECKSUM.unpack(end)[0]:
                    raise DecodeError
                yield Event.FromString(content)
            except DecodeError:
                log.warning("%s: damaged at byte %d: the rest is left out", path, file.tell())
                return
