"""The plan of a run: memory per rank, time per update, what bounds it, and what to change."""

import dataclasses
from typing import Any, Dict, Iterator, NamedTuple, Tuple

import mxnet as mx

from ..backbone.fast import fast_symbol
from ..config import Run
from ..errors import InputError
from .cards import Card
from .collectives import Cluster
from .memory import available_memory, memory_parts, on_host
from .network import network
from .seconds import Part, our_head, total_seconds, update_parts

_MIB = 2**20
_WORTH = 1.05  # a change that makes an update this much faster is worth naming
_BOUNDS = {
    "the backbone": ("forward", "backward", "optimizer"),
    "the head": ("products", "softmax", "casts", "centers"),
    "the network": ("gather embeddings", "gather log-sum-exp", "scatter gradient", "sum gradients"),
    "the host's bank": ("host bank",),
}


class Setting(NamedTuple):
    """What a plan is made for.

    Attributes:
        run: Run.
        symbol: the plain backbone.
        cluster: the ranks, and how they are connected.
        card: what each computes on.
        precision: of convolutions and products.
        free: bytes of free memory of this host, for a CPU; 0: those that are free when a plan is made.
    """

    run: Run
    symbol: mx.sym.Symbol
    cluster: Cluster
    card: Card
    precision: str
    free: int = 0


class Plan(NamedTuple):
    """The answer.

    Attributes:
        device: bytes on the card of a rank, by part; with `--gpu cpu` those of its process.
        host: bytes of host memory of a rank, by part, beside these.
        capacity: bytes that a card has; of a CPU, a rank's share of the free memory of this host.
        parts: of an update.
        images: of all ranks in an update.
    """

    device: Dict[str, int]
    host: Dict[str, int]
    capacity: float
    parts: Dict[str, Part]
    images: int

    @property
    def memory(self) -> int:
        """Bytes on the card."""
        return sum(self.device.values())

    @property
    def fits(self) -> bool:
        """Whether the card holds them."""
        return self.memory <= self.capacity

    @property
    def seconds(self) -> float:
        """Seconds of an update."""
        return total_seconds(self.parts)

    @property
    def rate(self) -> float:
        """Images per second, of all ranks."""
        return self.images / self.seconds

    def shares(self) -> Dict[str, float]:
        """Shares of the seconds of an update of the backbone, the head, the network and the bank on the host."""
        return {
            name: sum(self.parts[each].exposed for each in parts if each in self.parts) / self.seconds
            for name, parts in _BOUNDS.items()
        }

    @property
    def bound(self) -> str:
        """Which of these has the largest share."""
        shares = self.shares()
        return max(shares, key=lambda name: shares[name])


def make_plan(setting: Setting) -> Plan:
    """The plan of a setting.

    Raises:
        InputError: an array of a step would be larger than MXNet can hold; see `memory_parts`.
    """
    run, symbol, cluster, card, precision, free = setting
    on_gpu = card.device == "gpu"
    ctx = mx.gpu(0) if on_gpu else mx.cpu()
    sizes = memory_parts(run, symbol, cluster.ranks, ctx, precision)
    away = {"libraries"} if on_gpu else set()
    if on_gpu and on_host(run, cluster.ranks):
        away |= {"centers", "center_state"}
    device = {name: size for name, size in sizes.items() if size and name not in away}
    if on_gpu:
        device["context"] = int(card.context * _MIB)
    local = min(cluster.ranks, cluster.per_host)
    work = network(fast_symbol(symbol, ctx, precision), run.config.image_size)
    return Plan(
        device,
        {name: sizes[name] for name in away if sizes[name]},
        card.memory * _MIB or (free or available_memory()) / local,
        update_parts(run, work, cluster, card, precision, our_head(run, precision)),
        run.config.batch_size * cluster.ranks,
    )


def changed(setting: Setting, ranks: int = 0, num_classes: int = 0, precision: str = "", **keys: Any) -> Setting:
    """The setting with other ranks, classes, precision or keys of the configuration."""
    run = setting.run
    config = dataclasses.replace(run.config, **keys)
    return setting._replace(
        run=dataclasses.replace(run, config=config, num_classes=num_classes or run.num_classes),
        cluster=setting.cluster._replace(ranks=ranks or setting.cluster.ranks),
        precision=precision or setting.precision,
    )


def advice(setting: Setting, plan: Plan) -> Iterator[Tuple[str, Plan]]:
    """Options that would make the run fit, or an update at least 5 % faster per image, each with its plan."""
    config = setting.run.config
    low = "float16" if setting.card.device == "gpu" else "bfloat16"
    options: Dict[str, Dict[str, Any]] = {
        "--sample-ratio 0.1": dict(sample_ratio=min(0.1, config.sample_ratio)),
        f"--precision {low}": dict(precision=low),
        "--bank host": dict(bank="host"),
        f"--batch-size {2 * config.batch_size}": dict(batch_size=2 * config.batch_size),
        f"--batch-size {max(1, config.batch_size // 2)}": dict(batch_size=max(1, config.batch_size // 2)),
        f"--gpus {2 * setting.cluster.ranks}": dict(ranks=2 * setting.cluster.ranks),
    }
    for option, change in options.items():
        other = changed(setting, **change)
        if other == setting or low not in setting.card.products and "precision" in change:
            continue
        try:
            found = make_plan(other)
        except InputError:
            continue
        per_rank = found.rate / other.cluster.ranks * setting.cluster.ranks
        if found.fits and (not plan.fits or per_rank >= _WORTH * plan.rate):
            yield option, found


def as_json(setting: Setting, plan: Plan) -> Dict[str, Any]:
    """A plan as a JSON value: sizes in MiB, times in seconds."""
    run, cluster = setting.run, setting.cluster
    return dict(
        identities=run.num_classes,
        gpus=cluster.ranks,
        gpu=setting.card.name,
        per_host=cluster.per_host,
        network_gbit=cluster.gigabits,
        network=run.config.network,
        batch_size=run.config.batch_size,
        precision=setting.precision,
        sample_ratio=run.config.sample_ratio,
        bank="host" if on_host(run, cluster.ranks) else "device",
        optimizer=run.config.optimizer,
        memory_mib={name: size / _MIB for name, size in plan.device.items()},
        host_memory_mib={name: size / _MIB for name, size in plan.host.items()},
        total_mib=plan.memory / _MIB,
        capacity_mib=plan.capacity / _MIB,
        fits=plan.fits,
        parts={name: part._asdict() for name, part in plan.parts.items()},
        seconds=plan.seconds,
        images_per_second=plan.rate,
        shares=plan.shares(),
        bound=plan.bound,
    )
