"""Opens the images of a run: a record file, the demo, which is drawn where it is missing, or noise."""

import logging
import os
from types import MappingProxyType
from typing import Any, Mapping, Union

from ..distributed.communicator import Communicator
from ..errors import InputError
from .augmentation import Augmentation
from .batches import BatchReader
from .demo.records import make_demo
from .records.record_file import RecordFile
from .synthetic import SyntheticBatches

_SECONDS_TO_DRAW = 900  # the demo's faces on a busy machine

log = logging.getLogger("partial_fc")

Reader = Union[BatchReader, SyntheticBatches]


def open_data(
    source: str,
    rec: str,
    comm: Communicator,
    *,
    num_classes: int,
    image_size: int,
    batch_size: int,
    seed: int,
    on_bad_record: str = "error",
    augmentation: Mapping[str, Any] = MappingProxyType({}),
    **reading: Any,
) -> Reader:
    """The reader that gives this rank its batches; its `num_classes` is the number of identities.

    Args:
        source: `records`; `demo`, whose record file is drawn where it is missing; `synthetic`.
        rec: path of the record file.
        num_classes: number of identities; 0: as many as the record file lists.
        augmentation: fields of `Augmentation`, by name.
        Others as `BatchReader`.

    Raises:
        CollectiveError: on every rank, for a record file that any of them cannot use, or noise without a number of
            identities.
    """
    if source == "synthetic":
        with comm.raise_on_all_ranks():
            synthetic = SyntheticBatches(num_classes, image_size, batch_size, comm, seed)
        return synthetic
    with comm.raise_on_all_ranks():
        if source == "demo" and comm.local_rank == 0:
            with comm.busy("drawing the demo", _SECONDS_TO_DRAW):
                make_demo(os.path.dirname(rec), image_size)
    with comm.raise_on_all_ranks():
        records = _open_records(rec, tolerant=on_bad_record == "skip")
        reading.update(num_classes=num_classes or _listed_identities(records), on_bad_record=on_bad_record)
        changes = Augmentation(**augmentation)
        reader = BatchReader(records, image_size, batch_size, comm, seed, augmentation=changes, **reading)
        log.info("%s: %d images, %d updates per epoch", records.path, len(records.keys), reader.updates_per_epoch)
    return reader


def _open_records(path: str, tolerant: bool) -> RecordFile:
    records = RecordFile(path, tolerant=tolerant)
    if records.problem:
        log.warning("%s: all records before the last readable one are taken for images", records.problem)
    return records


def _listed_identities(records: RecordFile) -> int:
    if records.num_identities is None:
        raise InputError(f"{records.path} lists no identities: give their number, --set num_classes=...")
    return records.num_identities
