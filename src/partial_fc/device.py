"""The device that a rank computes on, and the precision in which it does."""

import logging
from typing import Any, NamedTuple, Set

import mxnet as mx

from .errors import InputError

log = logging.getLogger("partial_fc")


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
            f"this host has {num_gpus} GPUs, but rank {comm.rank} is number {comm.local_rank + 1} of its ranks: start "
            "one rank per GPU (run.sh -np N), or choose the CPU (--set device=cpu)"
        )
    return mx.gpu(comm.local_rank)


class Precision(NamedTuple):
    """A precision that was chosen.

    Attributes:
        name: `float32`, `bfloat16` or `float16`.
        reason: why, or what would be faster, as the log has it.
        is_slow: whether the device computes it slower than float32.
    """

    name: str
    reason: str
    is_slow: bool = False


def choose_precision(requested: str, ctx: mx.Context) -> Precision:
    """The precision of convolutions and products on a device.

    Args:
        requested: `float32`, `bfloat16`, `float16`, or `auto`: float16 on a GPU, bfloat16 on a CPU whose oneDNN
            computes it, by AVX512_BF16 or AMX, else float32.
        ctx: the device.

    Raises:
        InputError: float16 on a CPU, bfloat16 on a GPU: MXNet has no operators for them.
    """
    if ctx.device_type == "gpu":
        if requested == "bfloat16":
            raise InputError("--precision bfloat16: MXNet does not compute it on a GPU; use float16 or auto")
        if requested == "auto":
            return Precision("float16", "auto: the device is a GPU")
        return Precision(requested, "as configured")
    if requested == "float16":
        raise InputError("--precision float16: MXNet computes it on GPUs only; use bfloat16 or auto")
    fast = _cpu_flags() & {"avx512_bf16", "amx_bf16"}
    found = f"this CPU has {', '.join(sorted(fast)).upper()}" if fast else "this CPU has neither AVX512_BF16 nor AMX"
    if requested == "auto":
        return Precision("bfloat16" if fast else "float32", f"auto: {found}")
    if requested == "bfloat16" and not fast:
        return Precision("bfloat16", f"which is slower than float32: {found}", is_slow=True)
    hint = f"; {found}: --precision bfloat16 is faster" if fast and requested == "float32" else ""
    return Precision(requested, f"as configured{hint}")


def agreed_precision(requested: str, comm: Any, ctx: mx.Context) -> str:
    """The precision of all ranks, which is logged: see `choose_precision`.

    Args:
        requested: see `choose_precision`.
        comm: communicator.
        ctx: the device of this rank.

    Returns:
        `float32`, `bfloat16` or `float16`; float32 where `auto` chooses different ones on different ranks.

    Raises:
        CollectiveError: on every rank, for a precision that the device of any of them cannot compute.
    """
    with comm.raise_on_all_ranks():
        chosen = choose_precision(requested, ctx)
    names = comm.all_gather_object(chosen.name)
    if len(set(names)) > 1:
        chosen = Precision("float32", f"auto: the devices of the ranks differ ({', '.join(sorted(set(names)))})")
    log.log(logging.WARNING if chosen.is_slow else logging.INFO, "precision: %s, %s", chosen.name, chosen.reason)
    return chosen.name


def _cpu_flags() -> Set[str]:
    """What the first CPU of this host can do, in the words of Linux; empty on other systems."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((set(line.split()) for line in file if line.startswith("flags")), set())
    except OSError:
        return set()
