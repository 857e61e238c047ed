"""The memory bank of a run: on the device, or on the host."""

from typing import Any, Optional, Sequence

import mxnet as mx

from .host_bank import HostBank
from .memory_bank import MemoryBank


def make_bank(
    num_classes: int,
    embedding_size: int,
    comm: Any,
    sample_ratio: float,
    ctx: mx.Context,
    seed: int,
    on_host: bool = False,
    folder: Optional[str] = None,
    states: Sequence[str] = ("weight_mom",),
) -> MemoryBank:
    """A MemoryBank, or a HostBank where the centers are to be on the host.

    Args:
        comm: communicator, or anything with `rank` and `world_size`.
        on_host: whether centers and optimizer's state stay on the host.
        folder: for files that hold a bank on the host; None for memory.
        Others as `MemoryBank`.

    Raises:
        InputError: if the folder has no room for the bank.
    """
    arguments = num_classes, embedding_size, comm, sample_ratio, ctx, seed, states
    return HostBank(*arguments, folder=folder) if on_host else MemoryBank(*arguments)
