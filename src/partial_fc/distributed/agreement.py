"""Versions, configuration and data must be the same on every rank: they are compared before the first update."""

import os
import zlib
from typing import Any, Dict, Mapping

from ..lists.names import find_path
from .communicator import Communicator

# Paths may differ between hosts; the content of the files is compared instead.
_PATHS = ("rec", "models_root", "bank_dir", "pretrained")
_BLOCK = 2**24
_MISSING = "missing"


def settings(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The keys and values of a configuration that must be the same on every rank."""
    return {key: value for key, value in config.items() if key not in _PATHS}


def checksums(config: Any, records: Any) -> Dict[str, str]:
    """Checksums of the index of a record file and of the verification sets beside it, by the name of the file.

    Args:
        config: configuration, with `val_targets`.
        records: RecordFile.
    """
    found = {os.path.basename(records.index_path): f"{records.checksum():08x}"}
    for name in config.val_targets:
        path = find_path(os.path.dirname(records.path) or os.curdir, name + ".bin")
        found[os.path.basename(path)] = f"{_checksum(path):08x}"
    return found


def compare(what: str, values: Dict[str, Any], comm: Communicator) -> None:
    """Raise CollectiveError on every rank if ranks have different values.

    Args:
        what: kind of the values, for the message: `{what} of {name} is ...`.
        values: of this rank, by name; JSON can hold them.
        comm: communicator.
    """
    for rank, other in enumerate(comm.all_gather_object(values)):
        names = sorted({*values, *other})
        different = [name for name in names if values.get(name, _MISSING) != other.get(name, _MISSING)]
        own, others = (each.get(different[0], _MISSING) if different else None for each in (values, other))
        comm.agree(
            f"{what} of {different[0]} is {own} here, {others} on rank {rank}: it must be the same on all ranks"
            if different
            else None
        )


def _checksum(path: str) -> int:
    value = 0
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            value = zlib.crc32(block, value)
    return value
