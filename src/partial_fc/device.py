"""The device that a rank computes on."""

from typing import Any

import mxnet as mx

from .errors import InputError


def choose_device(name: str, comm: Any) -> mx.Context:
    """The device of this rank.

    Args:
        name: `cpu`; `gpu`, whose number is that of the rank on its host; `auto`, a GPU if the host has any.
        comm: communicator, or anything with `rank` and `local_rank`.

    Raises:
        InputError: the host has more ranks than GPUs.
    """
    num_gpus = mx.context.num_gpus()
    if name == "cpu" or name == "auto" and not num_gpus:
        return mx.cpu()
    if comm.local_rank >= num_gpus:
        raise InputError(
            f"this host has {num_gpus} GPUs, too few for rank {comm.rank}, which is number {comm.local_rank + 1} here: "
            "start fewer ranks, or choose the device cpu"
        )
    return mx.gpu(comm.local_rank)
