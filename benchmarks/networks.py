"""Every network: its size, its work per image, the memory that training takes, and its speed on this CPU.

    python -m benchmarks.networks [--networks NAME ...] [--net-act relu] [--precision P ...] [--batch-size B] [--runs N]
        [--json FILE]

One process of one thread trains with a head of 1,000 classes, and embeds; images are 112 x 112, embeddings have 512
numbers. Speeds are images per second of processor time: other programs can halve them where two cores are one. A
quarter of an hour on one core for both precisions.
"""

import itertools
import json
import os
import statistics
import sys
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np

from partial_fc.backbone.fast import fast_symbol
from partial_fc.data.batches import Batch
from partial_fc.distributed.communicator import Communicator
from partial_fc.eval.embedding import Embedder
from partial_fc.eval.model import Model
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.planning.memory import backbone_memory
from partial_fc.planning.network import multiply_adds
from partial_fc.symbol import CHOICES, NETWORKS, get_symbol
from partial_fc.training.module import FaceModule

from .measure import PRECISIONS, cpu_seconds, in_own_process, parser, print_table, progress, resident, write_json

SIZE, EMBEDDING_SIZE, NUM_CLASSES = 112, 512, 1000
PLAN_BATCH_SIZE = 64
_LR = 1e-4  # small enough for any network to stay finite

# Figures of a precision: key of a row, title, unit, digits after the point.
_FIGURES = [
    ("memory", f"GiB for training with {PLAN_BATCH_SIZE} images", 2**30, 1),
    ("training_images_per_second", "training images/s", 1, 1),
    ("embedding_images_per_second", "embedding images/s", 1, 1),
]

Row = Dict[str, Union[str, int, float]]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = parser("networks", "Compare the networks.", runs=3)
    arguments.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, default=["float32"], metavar="P", help="(float32)"
    )
    arguments.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    arguments.add_argument("--net-act", choices=CHOICES["net_act"], default="prelu", help="activation (prelu)")
    arguments.add_argument("--batch-size", type=int, default=8, metavar="B", help="images in an update (8)")
    args = arguments.parse_args(argv)
    try:
        for network in args.networks:
            get_symbol(network, net_act=args.net_act)
    except ValueError as error:
        arguments.error(f"--net-act {args.net_act}: {error}; name others with --networks")
    rows: List[Row] = []
    for network, precision in itertools.product(args.networks, args.precision):
        rows.append(in_own_process(measure, network, args.net_act, args.batch_size, args.runs, precision))
        progress(Communicator(), json.dumps(rows[-1]))
    print_rows(rows)
    if args.json:
        write_json(args.json, rows)
    return 0


def print_rows(rows: Sequence[Row]) -> None:
    """Print the table of results of `measure`: a row for each network, with figures in each precision."""
    precisions = list(dict.fromkeys(str(row["precision"]) for row in rows))
    header = ["network", "parameters M", "multiply-adds G"]
    header += [f"{title}, {precision}" for _, title, _, _ in _FIGURES for precision in precisions]
    table = []
    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network]
        cells = [f"{float(own[0][key]) / 10**power:.2f}" for key, power in (("parameters", 6), ("multiply_adds", 9))]
        cells += [f"{float(row[key]) / unit:.{digits}f}" for key, _, unit, digits in _FIGURES for row in own]
        table.append([str(network), *cells])
    print_table(header, table)


def measure(network: str, net_act: str, batch_size: int, runs: int, precision: str = "float32") -> Row:
    """The figures of a network.

    Args:
        network: a key of `NETWORKS`.
        net_act: its activation, see `get_symbol`.
        batch_size: images in an update, and in a batch that is embedded.
        runs: measured updates and batches, of which the median counts.
        precision: of convolutions and products.

    Returns:
        `parameters`, `multiply_adds` of one image, `memory`: bytes for the backbone at batch 64, the
        same at `batch_size` (`plan`) and what it took (`measured`), and images per second of processor time.
    """
    symbol = get_symbol(network, EMBEDDING_SIZE, net_act=net_act)
    fast = fast_symbol(symbol, mx.cpu(), precision)
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(1, 3, SIZE, SIZE))[0]))
    training, measured = _training_speed(symbol, batch_size, runs, precision)
    return dict(
        network=network,
        net_act=net_act,
        precision=precision,
        batch_size=batch_size,
        threads=os.environ.get("OMP_NUM_THREADS", "all"),
        parameters=int(sum(np.prod(shape) for name, shape in shapes.items() if name != "data")),
        multiply_adds=multiply_adds(symbol, SIZE),
        memory=backbone_memory(fast, (PLAN_BATCH_SIZE, 3, SIZE, SIZE)),
        plan=backbone_memory(fast, (batch_size, 3, SIZE, SIZE)),
        measured=measured,
        training_images_per_second=training,
        embedding_images_per_second=_embedding_speed(symbol, batch_size, runs, precision),
    )


def _training_speed(symbol: mx.sym.Symbol, batch_size: int, runs: int, precision: str) -> Tuple[float, int]:
    """Images per second, and bytes that the backbone took."""
    before = resident("VmRSS")
    _, update = training(symbol, batch_size, precision)
    seconds = _times(update, runs)
    return batch_size / seconds, int((resident("VmHWM") - before) * 2**20)


def training(
    symbol: mx.sym.Symbol, batch_size: int, precision: str, memonger: bool = False
) -> Tuple[FaceModule, Callable[[], float]]:
    """A module with a head of 1,000 classes, and a function that makes its next update, by the same noise each time."""
    comm, random = Communicator(), np.random.default_rng(0)
    head = PartialFC(MemoryBank(NUM_CLASSES, EMBEDDING_SIZE, comm), MarginSoftmax(), CenterSGD(), comm, precision)
    labels = random.integers(0, NUM_CLASSES, batch_size)
    batch = Batch(random.integers(0, 256, (batch_size, SIZE, SIZE, 3), np.uint8), labels, labels)
    module = FaceModule(symbol, head, comm, mx.cpu(), batch_size, SIZE, precision=precision, memonger=memonger)
    numbers = itertools.count()
    return module, lambda: module.update(batch, next(numbers), _LR, _LR)


def _embedding_speed(symbol: mx.sym.Symbol, batch_size: int, runs: int, precision: str) -> float:
    """Images per second, with random parameters: speed does not depend on them."""
    module = mx.mod.Module(symbol, label_names=None)
    module.bind([("data", (1, 3, SIZE, SIZE))], for_training=False)
    module.init_params(mx.init.Xavier())
    arguments, states = module.get_params()
    model = Model("", symbol, {**arguments, **states}, True, "")
    embedder = Embedder(model, batch_size=batch_size, precision=precision)
    images = np.random.default_rng(0).integers(0, 256, (batch_size, SIZE, SIZE, 3), np.uint8)
    return batch_size / _times(lambda: embedder.embed(images), runs)


def _times(call: Callable[[], object], runs: int) -> float:
    """Median of the seconds of processor time of a call, after one that warms up."""
    cpu_seconds(call)
    return statistics.median(cpu_seconds(call) for _ in range(runs))


if __name__ == "__main__":
    sys.exit(main())
