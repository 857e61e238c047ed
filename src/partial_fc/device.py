"""The device that a rank computes on, and the precision in which it does."""

import logging
import os
from typing import Any, Dict, NamedTuple, Sequence, Set

import mxnet as mx

from .errors import InputError

log = logging.getLogger("partial_fc")

# oneDNN computes bfloat16 on CPUs that have all of _NEEDED, and faster than float32 on those that have one of _FAST.
_NEEDED = {"avx512bw", "avx512dq", "avx512vl"}
_FAST = {"avx512_bf16", "amx_bf16"}
# The variable that limits oneDNN 2.4, and what of these its values leave. Values in other spelling are ignored, and so
# is the name that later versions have, ONEDNN_MAX_CPU_ISA.
_LIMIT = "DNNL_MAX_CPU_ISA"
_FLAGS_WITHIN: Dict[str, Set[str]] = {
    **dict.fromkeys("SSE41 AVX AVX2 AVX2_VNNI AVX512_MIC AVX512_MIC_4OPS".split(), set()),
    **dict.fromkeys(["AVX512_CORE", "AVX512_CORE_VNNI"], _NEEDED),
    "AVX512_CORE_BF16": _NEEDED | {"avx512_bf16"},
}


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


def choose_precision(requested: str, ctx: mx.Context, slow_network: str = "") -> Precision:
    """The precision of convolutions and products on a device.

    Args:
        requested: `float32`, `bfloat16`, `float16`, or `auto`: float16 on a GPU, bfloat16 on a CPU whose oneDNN
            computes it, by AVX512_BF16 or AMX, unless the network is slower so; else float32.
        ctx: the device.
        slow_network: why a CPU computes the network more slowly in bfloat16 than in float32; empty if it does not, or
            if the network is not known.

    Raises:
        InputError: float16 on a CPU, bfloat16 on a GPU or on a CPU without AVX-512: MXNet has no operators for them.
    """
    if ctx.device_type == "gpu":
        if requested == "bfloat16":
            raise InputError("--precision bfloat16: MXNet does not compute it on a GPU; use float16 or auto")
        if requested == "auto":
            return Precision("float16", "auto: the device is a GPU")
        return Precision(requested, "as configured")
    if requested == "float16":
        raise InputError("--precision float16: MXNet computes it on GPUs only; use bfloat16 or auto")
    is_computed, is_fast, found = _bfloat16_support()
    if requested == "bfloat16" and not is_computed:
        raise InputError(f"--precision bfloat16: MXNet needs AVX-512 for it, but {found}; use float32 or auto")
    why_slow = slow_network if is_fast else found
    if requested == "auto":
        return Precision("float32" if why_slow else "bfloat16", f"auto: {why_slow or found}")
    if requested == "bfloat16" and why_slow:
        return Precision("bfloat16", f"which is slower than float32: {why_slow}", is_slow=True)
    hint = "" if why_slow or requested != "float32" else f"; {found}: --precision bfloat16 is faster"
    return Precision(requested, f"as configured{hint}")


def agreed_precision(requested: str, comm: Any, ctx: mx.Context, slow_network: str = "", published: str = "") -> str:
    """The precision of all ranks, which rank 0 logs: see `choose_precision`.

    Args:
        requested: see `choose_precision`.
        comm: communicator.
        ctx: the device of this rank.
        slow_network: see `choose_precision`; the same on all ranks.
        published: what a file of the published form has for `auto`, for the log; empty for other files.

    Returns:
        `float32`, `bfloat16` or `float16`; float32 where `auto` chooses different ones on different ranks.

    Raises:
        CollectiveError: on every rank, for a precision that the device of any of them cannot compute.
    """
    with comm.raise_on_all_ranks():
        chosen = choose_precision(requested, ctx, slow_network)
    chosen = _of_all_ranks([Precision(*each) for each in comm.all_gather_object(tuple(chosen))])
    if comm.rank == 0:
        stands_for = f"{published} stands for " if published else ""
        level = logging.WARNING if chosen.is_slow else logging.INFO
        log.log(level, "precision: %s, %s%s", chosen.name, stands_for, chosen.reason)
    return chosen.name


def _of_all_ranks(chosen: Sequence[Precision]) -> Precision:
    """The precision of all ranks, from what each of them would choose."""
    names = sorted({each.name for each in chosen})
    if len(names) > 1:
        return Precision("float32", f"auto: the devices of the ranks differ ({', '.join(names)})")
    slow = [rank for rank, each in enumerate(chosen) if each.is_slow]
    if 0 < len(slow) < len(chosen):
        first = chosen[slow[0]]
        return first._replace(reason=f"{first.reason} (rank {', '.join(map(str, slow))})")
    return min(chosen, key=lambda each: len(each.reason))  # a hint only where it holds for all ranks


class _Bfloat16(NamedTuple):
    """Whether oneDNN computes bfloat16 on this CPU at all, whether fast, and why, as the log has it."""

    is_computed: bool
    is_fast: bool
    reason: str


def _bfloat16_support() -> _Bfloat16:
    own, limit = _cpu_flags(), os.environ.get(_LIMIT, "")
    used = own & _FLAGS_WITHIN.get(limit, own)
    if own and not used >= _NEEDED:  # without /proc, nothing is known
        reason = f"{_LIMIT}={limit} switches AVX-512 off" if own >= _NEEDED else "this CPU has no AVX-512"
        return _Bfloat16(False, False, reason)
    if used & _FAST:
        return _Bfloat16(True, True, f"this CPU has {_names(used & _FAST)}")
    lost = f"{_LIMIT}={limit} switches {_names(own & _FAST)} off"
    return _Bfloat16(True, False, lost if own & _FAST else "this CPU has neither AVX512_BF16 nor AMX")


def _names(flags: Set[str]) -> str:
    return ", ".join(sorted(flags)).upper()


def _cpu_flags() -> Set[str]:
    """What the first CPU of this host can do, in the words of Linux; empty on other systems."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((set(line.split()) for line in file if line.startswith("flags")), set())
    except OSError:
        return set()
