"""The time of one update, by part: what is computed, what is moved, what ranks exchange, and what overlaps.

Symbols as in docs/design.md: S ranks, b images per rank, B = S b, N classes, C chosen classes of a rank, D numbers per
center. Every part is FLOPs / rate, or bytes / bandwidth, whichever takes longer (the roofline, Williams et al. 2009,
doi 10.1145/1498765.1498785):

    backbone      over its operators: max(6 b multiply-adds / convolutions, b bytes / layers + weights / stream),
                  see network.py
    products      3 products of 2 B C D FLOP each: logits, gradient of the embeddings, gradient of the centers
    softmax       `logit_bytes` per logit, B C of them
    casts         `cast_bytes` per logit and per number of the chosen centers, in low precision
    centers       `row_passes` passes over C D numbers: to unit length, back through the norm, the update, and where
                  rows are chosen, reading and storing them
    optimizer     5 passes over the parameters (momentum), 9 (AdamW)
    host bank     (1 + states) C D numbers to the device and back, while the step before and after it computes
    collectives   see collectives.py

A rank waits for its own part of each collective: it is exposed as far as nothing that overlaps with it takes as long.
"""

import math
from typing import Dict, NamedTuple

from ..config import Run
from ..head.optimizer import OPTIMIZERS
from ..head.samplers import num_sample
from .cards import Card
from .collectives import Cluster
from .memory import num_local_of, numbers_per_class, on_host
from .network import Network

_GROUP = 2**25  # bytes of the last gradients to be summed, beside which nothing is left to compute
_GATHERED = 6e9  # bytes per second that one thread takes from rows of host memory, as measured: np.take, 2 KB rows
_SGD_PASSES, _ADAMW_PASSES = 5, 9  # read parameter, gradient and state, write parameter and state; AdamW decays first


class HeadWork(NamedTuple):
    """What an implementation of the head moves beside its three products, counted in its code.

    Attributes:
        logit_bytes: read or written per logit.
        row_passes: reads or writes of float32 arrays (C, D), block by block.
        chosen_passes: the same of rows that are taken from all centers, or stored there.
        dense_passes: the same of arrays (num_local, D).
        cast_bytes: read or written per logit, and per number of the chosen centers, to widen and to round them.
        product: precision of the products; empty: that of the run.
    """

    logit_bytes: float
    row_passes: float
    chosen_passes: float = 0.0
    dense_passes: float = 0.0
    cast_bytes: float = 0.0
    product: str = ""


def our_head(run: Run, precision: str) -> HeadWork:
    """What `PartialFC` moves: its code, operator by operator.

    Unit centers 5 passes (`l2_normalize`: square, sum, scale), the gradient through the norm 11
    (`l2_normalize_backward`), the update 5 or 9; chosen rows are taken (weight twice, state once) and stored. The
    softmax in place and its sum are 3 passes of float32. In low precision the probabilities are scaled, and logits and
    rows are once rounded (4 bytes to 2) and once widened.
    """
    config = run.config
    states = len(OPTIMIZERS[config.center_optimizer].states)
    passes = 5 + 11 + (0 if config.freeze_centers else _SGD_PASSES if states == 1 else _ADAMW_PASSES)
    chosen = 2 + 2 * (1 + states) + 2 * (1 + states) if config.sample_ratio < 1 else 0
    if precision == "float32":
        return HeadWork(3 * 4, passes, chosen)
    return HeadWork(3 * 4 + 8, passes, chosen, cast_bytes=12)


class Part(NamedTuple):
    """Seconds of a part of an update.

    Attributes:
        seconds: that it takes.
        exposed: seconds that the update takes longer because of it; less where it runs beside other parts.
        beside: the parts that it runs beside.
    """

    seconds: float
    exposed: float
    beside: str = ""


def update_parts(
    run: Run, work: Network, cluster: Cluster, card: Card, precision: str, head: HeadWork
) -> Dict[str, Part]:
    """The parts of one update of one rank, by name, in order.

    Args:
        run: Run.
        work: of the backbone as it is executed.
        cluster: how the ranks are connected.
        card: what each computes on.
        precision: of convolutions and products.
        head: what the head moves.
    """
    config, ranks = run.config, cluster.ranks
    batch, total = config.batch_size, config.batch_size * ranks
    chosen = expected_rows(run, ranks)
    numbers = chosen * numbers_per_class(config)
    logits = total * chosen * config.sub_centers
    whole = backbone_seconds(work, batch, card, precision)
    forward, backward = whole / 3, 2 * whole / 3
    dense = head.dense_passes * num_local_of(run, ranks) * numbers_per_class(config)
    centers = 4 * (head.row_passes * numbers + dense) / card.bandwidth + 4 * head.chosen_passes * numbers / card.stream
    parts = dict(
        forward=forward,
        backward=backward,
        products=_products(total, chosen * config.sub_centers, config.embedding_size, card, head.product or precision),
        softmax=head.logit_bytes * logits / card.bandwidth,
        casts=head.cast_bytes * (logits + numbers) / card.layers[precision],
        centers=centers,
        optimizer=4 * _passes(config.optimizer) * work.parameters / card.stream,
    )
    computed = {name: Part(seconds, seconds) for name, seconds in parts.items() if seconds}
    computed.update(_collectives(run, work, cluster, card, parts))
    if on_host(run, ranks) and card.host_link:
        computed["host bank"] = _host_bank(run, numbers, computed, card)
    return computed


def expected_rows(run: Run, ranks: int) -> int:
    """C: rows that a rank chooses, with the mean number of positives for labels drawn uniformly from all classes.

    `chosen_rows`, for memory, takes the largest possible number instead.
    """
    num_local = num_local_of(run, ranks)
    total = run.config.batch_size * ranks
    positives = round(num_local * -math.expm1(total * math.log1p(-1 / run.num_classes))) if num_local > 1 else num_local
    return min(num_local, num_sample(num_local, positives, run.config.sample_ratio))


def _passes(optimizer: str) -> int:
    return _ADAMW_PASSES if optimizer == "adamw" else _SGD_PASSES


def backbone_seconds(work: Network, batch_size: int, card: Card, precision: str) -> float:
    """Seconds of the forward and backward pass of `batch_size` images: the sum of the rooflines of the operators."""
    seconds = 0.0
    for each in work.operators:
        own = precision if each.is_low else "float32"
        moved = batch_size * each.moved / card.layers[own] + each.weight / card.stream
        computed = batch_size * each.flops / card.convolution(own, each.width, each.channels)
        seconds += max(moved, computed) + 3 * card.launch
    return seconds


def _products(total: int, columns: int, embedding_size: int, card: Card, precision: str) -> float:
    """Seconds of the three products; each reads or writes the logits and the centers."""
    computed = 2 * total * columns * embedding_size / card.products[precision]
    moved = (4 if precision == "float32" else 2) * columns * (total + embedding_size) / card.bandwidth
    return 3 * max(computed, moved)


def _collectives(run: Run, work: Network, cluster: Cluster, card: Card, parts: Dict[str, float]) -> Dict[str, Part]:
    """The collectives of an update: sizes as in docs/design.md, section Communication."""
    if cluster.ranks == 1:
        return {}
    total = run.config.batch_size * cluster.ranks
    embeddings, gradients = 4 * total * run.config.embedding_size, 4 * work.parameters
    last = min(gradients, _GROUP) / gradients  # share of the sums that begins when the backward pass has ended
    centers = parts["centers"] + parts["products"] / 3
    calls = {
        "gather embeddings": ("all_gather", embeddings, parts["centers"] / 4, 0.0, "unit centers"),
        "gather log-sum-exp": ("all_gather", 8 * total * cluster.ranks, 0.0, 0.0, ""),
        "scatter gradient": ("reduce_scatter", embeddings, centers, 0.0, "the update of the centers"),
        "sum gradients": ("all_reduce", gradients, parts["backward"], last, "the backward pass"),
    }
    found = {}
    for name, (kind, size, beside, least, what) in calls.items():
        seconds = cluster.seconds(kind, size, card)
        exposed = max(seconds - beside, least * seconds) if card.overlaps else seconds
        found[name] = Part(seconds, exposed, what if card.overlaps else "")
    return found


def _host_bank(run: Run, numbers: int, parts: Dict[str, Part], card: Card) -> Part:
    """Seconds to bring rows from the host and back: one thread gathers or stores them, and the link transfers them."""
    arrays = 1 + len(OPTIMIZERS[run.config.center_optimizer].states)
    seconds = 2 * 4 * arrays * numbers * (1 / card.host_link + 1 / _GATHERED)
    return Part(seconds, max(0.0, seconds - total_seconds(parts)), "the whole step")


def total_seconds(parts: Dict[str, Part]) -> float:
    """Seconds of an update: the sum of the times that its parts add."""
    return sum(part.exposed for part in parts.values())
