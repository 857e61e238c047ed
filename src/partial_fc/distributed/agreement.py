"""What must be the same on every rank: versions, configuration and data, compared before the first update."""

import os
import zlib

from ..lists.names import find_path

# Each host may have its own; what is in the files is compared instead.
_PATHS = ("rec", "models_root", "bank_dir", "pretrained")
_BLOCK = 2**24
_MISSING = "missing"


def settings(config):
    """What of a configuration must be the same on every rank, by key."""
    return {key: value for key, value in config.items() if key not in _PATHS}


def checksums(config, records):
    """Checksum (str) by file: of the index of a RecordFile, and of the verification sets beside it."""
    found = {os.path.basename(records.index_path): f"{records.checksum():08x}"}
    for name in config.val_targets:
        path = find_path(os.path.dirname(records.path) or os.curdir, name + ".bin")
        found[os.path.basename(path)] = f"{_checksum(path):08x}"
    return found


def compare(what, values, comm):
    """Raise CollectiveError on every rank if ranks have different values.

    Args:
        what: that is compared, for the message: `{what} of {name}`.
        values: by name, of this rank; JSON can hold them.
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


def _checksum(path):
    value = 0
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            value = zlib.crc32(block, value)
    return value
