"""The memory that a run will take, computed before it starts."""

import math
import os
from typing import Dict, Mapping, Tuple

import mxnet as mx
import numpy as np

from ..backbone.fast import fast_symbol
from ..backbone.graph import LARGEST_ARRAY, graph_bytes
from ..backbone.recompute import with_recompute
from ..backbone.shapes import infer_shapes
from ..config import Config, Run
from ..distributed.communicator import Communicator
from ..errors import InputError, cause
from ..head.block_softmax import BLOCK
from ..head.optimizer import OPTIMIZERS
from ..head.samplers import num_sample
from ..limits import control_groups, read_words

# Python, MXNet and Horovod themselves, and the images that are read ahead, if an update has one batch of them.
_LIBRARIES = 450 * 2**20
# Most of what Horovod takes on a CPU to sum the gradients over the ranks, as measured.
_EXCHANGE = 64 * 2**20
_GIB = 2**30
_SLOW_DISK = 10e6  # bytes per second
_BACKBONE_SECONDS = 120  # for the largest backbone
# Limit, use and reclaimable part of the use, in both versions of Linux's control groups.
_CGROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def on_host(run: Run, world_size: int) -> bool:
    """Whether the bank is on the host: as configured, or because a shard has more numbers than an NDArray can hold."""
    shard = num_local_of(run, world_size) * numbers_per_class(run.config)
    return configured_on_host(run.config) or shard > LARGEST_ARRAY


def configured_on_host(config: Config) -> bool:
    """Whether the configuration has the bank on the host."""
    return config.bank == "host" or bool(config.bank_dir)


def numbers_per_class(config: Config) -> int:
    """Numbers in the centers of a class, which are a row of the bank."""
    return config.embedding_size * config.sub_centers


def num_local_of(run: Run, world_size: int) -> int:
    """Classes on the rank that has most."""
    return -(-run.num_classes // world_size)


def chosen_rows(run: Run, world_size: int) -> int:
    """Classes of that rank that take part in an update, if all of its images are of other people."""
    num_local = num_local_of(run, world_size)
    positives = min(run.config.accumulate * run.config.batch_size * world_size, num_local)
    return min(num_local, num_sample(num_local, positives, run.config.sample_ratio))


def busy_timeout(run: Run, world_size: int) -> float:
    """Seconds in which a rank can read, write or make its centers and the backbone, even on a slow disk."""
    return _BACKBONE_SECONDS + _center_bytes(run, num_local_of(run, world_size)) / _SLOW_DISK


def _center_bytes(run: Run, num_rows: int) -> int:
    """Bytes of the centers of some classes and of the optimizer's state of these."""
    arrays = 1 + len(OPTIMIZERS[run.config.center_optimizer].states)
    return arrays * 4 * num_rows * numbers_per_class(run.config)


# The parts of `memory_parts` by the purposes of `memory_plan`.
_PURPOSES = dict(
    centers=("centers", "center_state"),
    rows=("rows",),
    step=("logits", "unit_centers", "embeddings", "scratch"),
    backbone=("parameters", "gradients", "optimizer", "copies", "activations", "exchange"),
    libraries=("libraries",),
)


def memory_plan(
    run: Run, symbol: mx.sym.Symbol, world_size: int, ctx: mx.Context, precision: str = "float32"
) -> Dict[str, int]:
    """Bytes that a rank needs, by purpose: `centers`, `rows` (of a bank on the host), `step`, `backbone`, `libraries`.

    Args, Raises: as `memory_parts`, whose sums these are.
    """
    return by_purpose(memory_parts(run, symbol, world_size, ctx, precision))


def by_purpose(parts: Mapping[str, int]) -> Dict[str, int]:
    """The sums of `memory_plan` of some of the `memory_parts`."""
    return {purpose: sum(parts.get(name, 0) for name in names) for purpose, names in _PURPOSES.items()}


def memory_parts(
    run: Run, symbol: mx.sym.Symbol, world_size: int, ctx: mx.Context, precision: str = "float32"
) -> Dict[str, int]:
    """Bytes that a rank needs, by part.

    Of the head: `centers` and `center_state` (momentum or moments); `rows`, those of a bank on the host that are on the
    device; `logits`; `unit_centers` and their gradient; `embeddings` of the global batch; `scratch` of oneDNN's
    products in bfloat16: float32 sums of the gradient, and the probabilities in two other layouts. Of the backbone:
    `parameters`, `gradients`, `optimizer`, `copies` and `activations`, see `backbone_parts`, and `exchange` of the
    gradients with other ranks. And `libraries`.

    Args:
        run: Run.
        symbol: the plain backbone.
        world_size: ranks.
        ctx: the device that computes.
        precision: of convolutions and products: `float32`, `bfloat16` or `float16`.

    Raises:
        InputError: if an array of the step would be larger than MXNet can hold.
    """
    config = run.config
    global_batch_size = config.batch_size * world_size  # of a micro-batch
    num_local, num_rows = num_local_of(run, world_size), chosen_rows(run, world_size) + 1
    _check_arrays(global_batch_size, num_rows * config.sub_centers, config.embedding_size)
    shape = config.batch_size, 3, config.image_size, config.image_size
    more_images = (config.accumulate - 1) * (config.num_workers + 2) * math.prod(shape)
    num_states = 2 if config.optimizer == "adamw" else 1
    num_gradients = 1 + (config.accumulate > 1)  # and their sums
    centers = 4 * num_local * numbers_per_class(config)
    backbone = backbone_parts(fast_symbol(symbol, ctx, precision), shape, num_states, num_gradients, config.memonger)
    return dict(
        centers=centers,
        center_state=_center_bytes(run, num_local) - centers,
        rows=2 * _center_bytes(run, num_rows) if on_host(run, world_size) else 0,  # of this step and of the next
        **_step(global_batch_size, num_rows, config, precision),
        **backbone,
        exchange=min(_EXCHANGE, backbone["parameters"]) if world_size > 1 and ctx.device_type == "cpu" else 0,
        libraries=_LIBRARIES + more_images,
    )


def _step(global_batch_size: int, num_rows: int, config: Config, precision: str) -> Dict[str, int]:
    """Bytes of a step of the head beyond the centers: logits, unit centers with their gradient, and embeddings.

    With sub-centers there are logits of all centers, and the largest of each class, with its number. In low precision
    logits and gradient take two bytes per number, and so does a second copy of the unit centers. The softmax is
    float32: a block of rows of the logits is widened for it. Filtering marks the logits of such a block. If an update
    has several micro-batches, `global_batch_size` is that of one, and the gradients of the centers are summed in
    float32.
    """
    columns = num_rows * config.sub_centers
    logits, rows = global_batch_size * columns, num_rows * numbers_per_class(config)
    best = 5 * global_batch_size * num_rows if config.sub_centers > 1 else 0
    sums = 4 * rows if config.accumulate > 1 else 0
    block = 4 * num_rows * min(max(1, BLOCK // num_rows), global_batch_size)
    blocks = block * ((precision != "float32") + bool(config.interclass_filtering))
    return dict(
        unit_centers=8 * rows + sums,
        embeddings=4 * 4 * global_batch_size * numbers_per_class(config),
        logits=(4 if precision == "float32" else 2) * logits + best + blocks,
        scratch=4 * (rows + logits) if precision == "bfloat16" else 0,  # as measured
    )


def _check_arrays(global_batch_size: int, num_rows: int, embedding_size: int) -> None:
    for name, columns in (("logits of the global batch", global_batch_size), ("chosen centers", embedding_size)):
        if num_rows * columns > LARGEST_ARRAY:
            raise InputError(
                f"{num_rows} x {columns} {name} are more than an MXNet array can hold, {LARGEST_ARRAY}: "
                "use more ranks, a smaller --sample-ratio or a smaller --batch-size"
            )


def backbone_memory(symbol: mx.sym.Symbol, shape: Tuple[int, ...], num_states: int = 1, memonger: bool = False) -> int:
    """Bytes that training a backbone needs: the sum of `backbone_parts`, whose arguments and errors it has."""
    return sum(backbone_parts(symbol, shape, num_states, memonger=memonger).values())


def backbone_parts(
    symbol: mx.sym.Symbol, shape: Tuple[int, ...], num_states: int = 1, num_gradients: int = 1, memonger: bool = False
) -> Dict[str, int]:
    """Bytes that training a backbone needs, by part.

    `parameters` and `gradients`; the `optimizer`'s momentum or two moments; `copies` of the parameters in the layout
    that convolutions prefer, in low precision half a time more, as measured; and `activations`, the arrays within the
    graph, as MXNet places them when it binds the symbol: many take turns in one place.

    Args:
        symbol: the backbone, as `fast_symbol` returned it.
        shape: (b, 3, H, W), the images of one rank in one forward pass.
        num_states: arrays of the optimizer's state per parameter.
        num_gradients: arrays of gradients per parameter.
        memonger: whether activations are computed again, see `with_recompute`.

    Raises:
        InputError: the network does not take images of this size.
    """
    names = symbol.list_arguments()
    shapes, _, _ = infer_shapes(symbol, shape, "image_size")
    try:
        arrays = graph_bytes(with_recompute(symbol, shape) if memonger else symbol, shape)
    except RuntimeError as error:
        raise InputError(
            f"the backbone does not fit into memory: {cause(error)}: use a smaller --batch-size or embedding_size"
        ) from None
    parameters = sum(math.prod(each) for name, each in zip(names, shapes) if name != "data")
    share = _share_of_float32(symbol, shape)
    return dict(
        parameters=4 * parameters,
        gradients=num_gradients * 4 * parameters,
        optimizer=num_states * 4 * parameters,
        copies=4 * parameters if share == 1 else 6 * parameters,
        activations=int(share * arrays),
    )


def _share_of_float32(symbol: mx.sym.Symbol, shape: Tuple[int, ...]) -> float:
    """Bytes of the arrays within a graph, as a share of four per number, which is what MXNet counts for any type."""
    inner, variables = symbol.get_internals(), {*symbol.list_arguments(), *symbol.list_auxiliary_states()}
    _, shapes, _ = inner.infer_shape(data=shape)
    _, dtypes, _ = inner.infer_type(data=np.float32)
    arrays = [
        (math.prod(each), np.dtype(dtype).itemsize)
        for name, each, dtype in zip(inner.list_outputs(), shapes, dtypes)
        if name not in variables
    ]
    return sum(size * itemsize for size, itemsize in arrays) / sum(4 * size for size, _ in arrays)


def check_memory(plan: Mapping[str, int], run: Run, comm: Communicator, ctx: mx.Context) -> str:
    """Compare a `memory_plan` with the free memory of the host and of the device.

    Returns:
        One line that says how much the run needs.

    Raises:
        InputError: with the figures and what to change, if it cannot fit.
    """
    needs: Dict[str, Dict[str, int]] = {"host": {}, "device": {}, "disk": {}}
    for name, size in plan.items():
        needs[_place(name, run, comm, ctx)][name] = size
    advice = "" if run.config.bank_dir else ", or --bank-dir DIR for the centers"
    # What the ranks have taken already is part of the libraries. What they have beyond these, such as verification
    # sets, is not in the plan, and not free.
    available = available_memory() + comm.local_size * min(own_memory(), plan["libraries"])
    lines = [_compare(needs["host"], comm.local_size, "this host", available, advice)]
    if needs["device"]:
        free, _ = mx.context.gpu_memory_info(ctx.device_id)
        lines.append(_compare(needs["device"], 1, str(ctx), free, ", or --bank host for the centers"))
    return "; ".join(lines)


def _place(name: str, run: Run, comm: Communicator, ctx: mx.Context) -> str:
    if name == "centers" and on_host(run, comm.world_size):
        return "disk" if run.config.bank_dir else "host"
    return "host" if name == "libraries" or ctx.device_type == "cpu" else "device"


def _compare(needs: Mapping[str, int], num_ranks: int, place: str, available: int, advice: str) -> str:
    line = f"{described_need(needs, num_ranks, place)}, {available / _GIB:.2f} GiB are free"
    if num_ranks * sum(needs.values()) > available:
        raise InputError(f"{line}: use more hosts, a smaller --sample-ratio, --batch-size or embedding_size{advice}")
    return line


def described_need(needs: Mapping[str, int], num_ranks: int, place: str) -> str:
    """Text on the memory that all ranks need together, and each of them by purpose, in GiB."""
    parts = ", ".join(f"{name} {size / _GIB:.2f}" for name, size in needs.items() if size)
    who, each = ("1 rank needs", "") if num_ranks == 1 else (f"{num_ranks} ranks need", " each")
    return f"{who} {num_ranks * sum(needs.values()) / _GIB:.2f} GiB on {place} ({parts}{each})"


def available_memory(root: str = "/") -> int:
    """Bytes of memory that this host has left, or this container or job may still take.

    Args:
        root: folder that holds `proc` and `sys`.
    """
    words = read_words(os.path.join(root, "proc"), "meminfo")
    available = 1024 * int(words[words.index("MemAvailable:") + 1])
    for folder in control_groups("memory", root):
        for limit_file, used_file, cache in _CGROUP_FILES:
            limit = read_words(folder, limit_file)
            if limit and limit[0].isdigit():  # not "max"
                (used,), statistics = read_words(folder, used_file), read_words(folder, "memory.stat")
                reclaimable = int(statistics[statistics.index(cache) + 1])
                available = min(available, int(limit[0]) - int(used) + reclaimable)
    return available


def own_memory(kind: str = "RssAnon") -> int:
    """Bytes of memory that this process has taken, by default without files that it has mapped; `VmRSS`: with them."""
    words = read_words("/proc/self", "status")
    return 1024 * int(words[words.index(f"{kind}:") + 1])
