"""Memory and time of training with `memonger`, which computes activations again in the backward pass.

    python -m benchmarks.memonger [--networks r18 r50 r100] [--batch-size 32] [--precision P] [--runs 3] [--json FILE]

A process for each case trains with a head of 1,000 classes; images are 112 x 112. Planned is what the memory plan of
training says of the backbone, measured what the process took beyond the libraries. Seconds are medians of the
processor time of an update. The parameters after the last update are compared bit by bit. About ten minutes.
"""

import json
import statistics
import sys
import time
import zlib
from typing import Any, Dict, List, Optional, Sequence

import mxnet as mx

from partial_fc.backbone.fast import fast_symbol
from partial_fc.distributed.communicator import Communicator
from partial_fc.planning.memory import backbone_memory
from partial_fc.symbol import NETWORKS, get_symbol

from .measure import in_own_process, parser, print_table, progress, resident, write_json
from .networks import EMBEDDING_SIZE, SIZE, training


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = parser("memonger", "Memory and time of computing activations again.", runs=3, precisions=True)
    arguments.add_argument("--networks", nargs="+", choices=NETWORKS, default=["r18", "r50", "r100"], metavar="NAME")
    arguments.add_argument("--batch-size", type=int, default=32, metavar="B", help="images in an update (32)")
    args = arguments.parse_args(argv)
    cases: List[Dict[str, Any]] = []
    for network in args.networks:
        for memonger in (False, True):
            cases.append(in_own_process(measure, network, args.batch_size, args.precision, args.runs, memonger))
            progress(Communicator(), json.dumps(cases[-1]))
    print_rows(cases)
    if args.json:
        write_json(args.json, cases)
    return 0


def measure(network: str, batch_size: int, precision: str, runs: int, memonger: bool) -> Dict[str, Any]:
    """Bytes and seconds of some updates, and a checksum of the parameters and statistics after them."""
    symbol, before = get_symbol(network, EMBEDDING_SIZE), resident("VmRSS")
    module, update = training(symbol, batch_size, precision, memonger)
    seconds = []
    for _ in range(1 + runs):
        mx.nd.waitall()
        start = time.process_time()
        update()
        mx.nd.waitall()
        seconds.append(time.process_time() - start)
    measured = int((resident("VmHWM") - before) * 2**20)
    arrays = [*module.arg_params.values(), *module.aux_params.values()]
    shape = batch_size, 3, SIZE, SIZE
    return dict(
        network=network,
        batch_size=batch_size,
        precision=precision,
        memonger=memonger,
        planned=backbone_memory(fast_symbol(symbol, mx.cpu(), precision), shape, memonger=memonger),
        measured=measured,
        seconds=statistics.median(seconds[1:]),
        parameters=zlib.crc32(b"".join(array.asnumpy().tobytes() for array in arrays)),
    )


def print_rows(cases: Sequence[Dict[str, Any]]) -> None:
    """Print a row for each pair of results of `measure`: without, and with."""
    header = ["network", "precision", "images", "planned GiB", "measured GiB", "s per update", "time", "same bits"]
    table = []
    for without, with_it in zip(cases[::2], cases[1::2]):
        pairs = [[f"{case[key] / 2**30:.2f}" for case in (without, with_it)] for key in ("planned", "measured")]
        pairs.append([f"{case['seconds']:.2f}" for case in (without, with_it)])
        cells = [without["network"], without["precision"], str(without["batch_size"]), *map(", ".join, pairs)]
        same = without["parameters"] == with_it["parameters"]
        table.append([*cells, f"{with_it['seconds'] / without['seconds']:.2f}", "yes" if same else "no"])
    print_table(header, table)


if __name__ == "__main__":
    sys.exit(main())
