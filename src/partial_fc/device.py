"""The device that a rank computes on."""

import mxnet as mx

from .errors import InputError


def choose_device(name, comm):
    """MXNet's context of this rank.

    Args:
        name: `cpu`; `gpu`, the one of the rank's number on its host; `auto`, a GPU where the host has one.
        comm: communicator, or anything with `rank` and `local_rank`.

    Raises:
        InputError: more ranks than GPUs on a host.
    """
    num_gpus = mx.context.num_gpus()
    if name == "cpu" or name == "auto" and not num_gpus:
        return mx.cpu()
    if comm.local_rank >= num_gpus:
        raise InputError(
            f"this host has {num_gpus} GPUs, too few for rank {comm.rank}, number {comm.local_rank + 1} on it: "
            "start fewer ranks, or choose the device cpu"
        )
    return mx.gpu(comm.local_rank)
