"""A training step of the backbone alone: 8 images of 112 x 112, forward and backward, one thread. About four minutes.

    python -m benchmarks.backbone [--json FILE] [--runs 5] [--networks r18 r50]

*Stock* is the plain symbol as MXNet executes it, in float32; *ours* is what training binds. The *floor* is the sum of
the network's own convolutions and fully connected layers, each executed alone, forward and backward, in the precision
that the step computes it in. Stock, steps and floor take turns; seconds are medians of the process's CPU time.
"""

import json
import os
import statistics
import sys
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import mxnet as mx
import numpy as np
from mxnet.contrib.amp.amp import bfloat16

from partial_fc.backbone.fast import fast_symbol
from partial_fc.symbol import NETWORKS, get_symbol

from .measure import cpu_seconds, machine, parser, print_table, write_json
from .training import CPU_PRECISIONS

SHAPE = (8, 3, 112, 112)
EMBEDDING_SIZE = 512
_PRODUCTS = ("Convolution", "FullyConnected")
Call = Callable[[], None]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = parser("backbone", "Time a training step of the backbone against its products.", runs=5)
    arguments.add_argument("--networks", nargs="+", choices=NETWORKS, default=["r18", "r50"], help="r18 r50")
    args = arguments.parse_args(argv)
    if os.environ.get("OMP_NUM_THREADS") != "1":
        arguments.error("set OMP_NUM_THREADS=1: the figures are those of one thread")
    cases = [case for network in args.networks for case in measure(network, args.runs)]
    print(f"{machine()['cpu']}, {' and '.join(_bfloat16_instructions()) or 'no bfloat16 instructions'}")
    print_table(
        ["network", "precision", "stock s", "ours s", "floor s", "stock / ours", "ours / floor"],
        [_row(case) for case in cases],
    )
    if args.json:
        write_json(args.json, cases)
    return 0


def measure(network: str, runs: int) -> List[Dict[str, Any]]:
    """Cases of one network, of each precision; see the module."""
    plain = get_symbol(network, EMBEDDING_SIZE)
    calls = {"stock": [step(plain, ["data"], data=SHAPE)]}
    for precision in CPU_PRECISIONS:
        calls[precision] = [step(fast_symbol(plain, mx.cpu(), precision), ["data"], data=SHAPE)]
        calls[f"{precision} floor"] = list(products(plain, precision))
    seconds: Dict[str, List[float]] = {name: [] for name in calls}
    for number in range(1 + runs):  # the first warms up
        for name, each in calls.items():
            seconds[name].append(sum(map(cpu_seconds, each)))
        print(f"{network}: round {number}/{runs}", file=sys.stderr, flush=True)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    return [
        dict(
            network=network,
            precision=precision,
            stock_seconds=medians["stock"],
            step_seconds=medians[precision],
            floor_seconds=medians[f"{precision} floor"],
        )
        for precision in CPU_PRECISIONS
    ]


def products(symbol: mx.sym.Symbol, precision: str) -> Iterator[Call]:
    """A step of each convolution and fully connected layer of a symbol alone, in the precision of `fast_symbol`.

    Args:
        symbol: a plain one.
        precision: of its convolutions; fully connected layers are float32.
    """
    inner = symbol.get_internals()
    shapes = dict(zip(inner.list_outputs(), inner.infer_shape(data=SHAPE)[1]))
    nodes = json.loads(symbol.tojson())["nodes"]
    first = next(node["name"] for node in nodes if node["op"] in _PRODUCTS)
    for node in nodes:
        if node["op"] in _PRODUCTS:
            dtype = bfloat16 if (node["op"], precision) == ("Convolution", "bfloat16") else np.float32
            names = [nodes[source]["name"] for source, *_ in node["inputs"]]
            inputs = [
                mx.sym.Variable(name, shape=shapes.get(name + "_output", shapes.get(name)), dtype=dtype)
                for name in names
            ]
            product = getattr(mx.sym, node["op"])(*inputs, **node["attrs"])
            yield step(product, without=names[:1] if node["name"] == first else [])


def step(symbol: mx.sym.Symbol, without: Sequence[str] = (), **shapes: Tuple[int, ...]) -> Call:
    """Forward and backward pass of a symbol with random arguments, as a function without arguments.

    Args:
        symbol: of one output.
        without: arguments that need no gradient.
        shapes: of arguments whose shapes the symbol does not imply.
    """
    arguments = symbol.list_arguments()
    requests = {name: "null" if name in without else "write" for name in arguments}
    executor = symbol.simple_bind(mx.cpu(), grad_req=requests, **shapes)
    for name in arguments:
        _fill(executor.arg_dict[name])
    for name, array in executor.aux_dict.items():
        array[:] = name.endswith("var")
    grad = executor.outputs[0].copy()
    _fill(grad)

    def call() -> None:
        executor.forward(is_train=True)
        executor.backward([grad])

    return call


def _fill(array: mx.nd.NDArray) -> None:
    """Random values of about 1 / sqrt(number of inputs), which keep the outputs of a network in range."""
    values = mx.nd.random.normal(scale=(2 / max(1, array[0].size)) ** 0.5, shape=array.shape)
    array[:] = values if array.dtype == np.float32 else mx.nd.amp_cast(values, dtype=bfloat16)


def _bfloat16_instructions() -> List[str]:
    with open("/proc/cpuinfo") as file:
        flags = next((line.split() for line in file if line.startswith("flags")), [])
    return sorted({"avx512_bf16", "amx_bf16"} & set(flags))


def _row(case: Dict[str, Any]) -> List[str]:
    stock, ours, floor = (case[f"{name}_seconds"] for name in ("stock", "step", "floor"))
    return [
        case["network"],
        case["precision"],
        *(f"{value:.3f}" for value in (stock, ours, floor)),
        f"{stock / ours:.2f}",
        f"{ours / floor:.2f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
