"""Measures a product and a convolution in each precision that the device of training computes; `facts` runs it.

python -m partial_fc.doctor.precisions
"""

import json
import time
from typing import Any, Callable, Dict

import mxnet as mx

from ..device import choose_precision
from ..head.products import Products
from ..head.workspace import Workspace

# Embeddings of a batch by centers; a layer in the middle of r18.
_BATCH_SIZE, _NUM_CENTERS, _EMBEDDING_SIZE = 256, 8192, 512
_IMAGES, _CHANNELS, _SIZE = 4, 128, 28
_RUNS = 5


def main() -> None:
    """Print `{"precisions": ...}` as one line of JSON, again after each precision: the last line has most.

    `device`, cpu or gpu; `auto`, the precision that `--precision auto` chooses, and `reason`; `gflops`, a dictionary of
    `product` and `convolution` by precision, or of its `error`.
    """
    on_gpu = mx.runtime.Features().is_enabled("CUDA") and mx.context.num_gpus() > 0
    ctx = mx.gpu(0) if on_gpu else mx.cpu()
    chosen = choose_precision("auto", ctx)
    gflops: Dict[str, Dict[str, Any]] = {}
    for precision in ("float32", "float16" if on_gpu else "bfloat16"):
        try:
            gflops[precision] = measure(precision, ctx)
        except mx.base.MXNetError as error:  # a processor that oneDNN has no such operators for
            gflops[precision] = {"error": str(error).strip().splitlines()[-1]}
        facts = dict(device=ctx.device_type, auto=chosen.name, reason=chosen.reason, gflops=gflops)
        print(json.dumps({"precisions": facts}), flush=True)


def measure(precision: str, ctx: mx.Context) -> Dict[str, float]:
    """GFLOP/s of `product` and `convolution`, the best of a few runs, with the threads that MXNet uses.

    Raises:
        mxnet.base.MXNetError: the device has no such operators.
    """
    products = Products(precision, Workspace(ctx))
    embeddings, weight, images, filters = (
        products.operand(mx.nd.random.normal(shape=shape, ctx=ctx), f"operand {shape}")
        for shape in (
            (_BATCH_SIZE, _EMBEDDING_SIZE),
            (_NUM_CENTERS, _EMBEDDING_SIZE),
            (_IMAGES, _CHANNELS, _SIZE, _SIZE),
            (_CHANNELS, _CHANNELS, 3, 3),
        )
    )
    convolution = dict(kernel=(3, 3), pad=(1, 1), num_filter=_CHANNELS, no_bias=True)
    product = _seconds(lambda: products.logits(embeddings, weight))
    convolved = _seconds(lambda: mx.nd.Convolution(images, filters, **convolution))
    return {
        "product": 2e-9 * _BATCH_SIZE * _NUM_CENTERS * _EMBEDDING_SIZE / product,
        "convolution": 2e-9 * _IMAGES * _SIZE**2 * 9 * _CHANNELS**2 / convolved,
    }


def _seconds(call: Callable[[], mx.nd.NDArray]) -> float:
    """Seconds of a call, the fewest of a few, after one that warms up."""
    times = []
    for _ in range(1 + _RUNS):
        mx.nd.waitall()
        start = time.perf_counter()
        call().wait_to_read()
        times.append(time.perf_counter() - start)
    return min(times[1:])


if __name__ == "__main__":
    main()
