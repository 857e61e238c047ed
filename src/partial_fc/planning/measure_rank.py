"""A rank that `measure` starts: times products, convolutions, memory and collectives while all ranks do the same."""

import dataclasses
import json
import time
from typing import Any, Callable, Dict, List, Tuple

import mxnet as mx

from ..backbone.fast import fast_symbol
from ..distributed.collectives import connect
from ..distributed.communicator import Communicator
from ..head.normalize import l2_normalize, l2_normalize_backward
from ..head.optimizer import CenterSGD
from ..head.products import Products
from ..head.workspace import Workspace
from ..limits import threads_of_a_rank, usable_cores
from .cards import Card
from .memory import own_memory
from .network import network

MARK = "partial_fc.planning.measure_rank:"
_ROUNDS = 5
_BATCH_SIZE, _NUM_CENTERS, _EMBEDDING_SIZE = 512, 8192, 512
_BLOCK, _BLOCKS = 2048, 16  # rows: 4 MB, as the head has them
_PASSES = 5 + 11 + 5  # over the rows, see seconds.our_head
# Layers of a residual network: channels by pixels in a row, and images, so that each takes about as long.
_LAYERS = {112: (64, 2), 56: (64, 8), 28: (128, 8), 14: (256, 8), 7: (512, 8)}
_TINY = 7, 8, 1  # width, channels, images
_DEEP = 3  # layers in a row: between them nothing is cast
_SMALL, _LARGE, _GRADIENTS = 2**16, 2**22, 2**26  # bytes


def main() -> None:
    """Measure; rank 0 prints `MARK` and one line of JSON: the fields of a `Card`."""
    comm = connect(watch=True)
    own_gpu = bool(mx.runtime.Features().is_enabled("CUDA")) and comm.local_rank < mx.context.num_gpus()
    on_gpu = all(comm.all_gather_object(own_gpu))
    card = measure(comm, mx.gpu(comm.local_rank) if on_gpu else mx.cpu())
    if comm.rank == 0:
        print(MARK, json.dumps(dataclasses.asdict(card)), flush=True)


def measure(comm: Communicator, ctx: mx.Context) -> Card:
    """The card of this rank; all ranks must call it at once."""
    on_gpu = ctx.device_type == "gpu"
    _convolutions(comm, ctx, "float32", *_TINY)  # the libraries load what they need
    context = 0 if on_gpu else own_memory("VmRSS") / 2**20
    products: Dict[str, float] = {}
    convolutions: Dict[str, Dict[str, float]] = {}
    for precision in ("float32", "float16" if on_gpu else "bfloat16"):
        products[precision] = _products(comm, ctx, precision)
        convolutions[precision] = {
            str(width): _convolutions(comm, ctx, precision, width, *layer) for width, layer in _LAYERS.items()
        }
    return Card(
        "here",
        f"measured on {comm.world_size} ranks",
        ctx.device_type,
        mx.context.gpu_memory_info(ctx.device_id)[0] / 2**20 if on_gpu else 0,
        context,
        products,
        convolutions,
        _head_bandwidth(comm, ctx),
        {precision: _layers_bandwidth(comm, ctx, precision) for precision in products},
        _stream(comm, ctx),
        _links(comm, ctx),
        _host_link(comm, ctx) if on_gpu else 0,
        overlaps=on_gpu,
        ranks=comm.world_size,
    )


def _seconds(comm: Communicator, call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that the slowest rank takes, in the fastest of a few rounds: other programs can only add to it."""
    rounds: List[float] = []
    for _ in range(1 + _ROUNDS):
        mx.nd.waitall()
        comm.all_gather_object(None)  # a barrier
        start = clock()
        call()
        mx.nd.waitall()
        rounds.append(max(comm.all_gather_object(clock() - start)))
    return min(rounds[1:])


def _computing(comm: Communicator, call: Callable[[], Any], ctx: mx.Context) -> float:
    """Seconds without communication; from processor time if a rank has one thread: other programs do not add to it.

    Ranks that are more than the cores take turns.
    """
    if ctx.device_type == "gpu" or threads_of_a_rank(comm.local_size) > 1:
        return _seconds(comm, call)
    return _seconds(comm, call, time.process_time) * max(1, comm.local_size / usable_cores())


def _products(comm: Communicator, ctx: mx.Context, precision: str) -> float:
    """FLOP/s of the three products of a step."""
    products = Products(precision, Workspace(ctx))
    embeddings, weight = (
        products.operand(mx.nd.random.normal(shape=(rows, _EMBEDDING_SIZE), ctx=ctx), f"operand {rows}")
        for rows in (_BATCH_SIZE, _NUM_CENTERS)
    )
    seconds = _computing(comm, lambda: products.gradients(products.logits(embeddings, weight), embeddings, weight), ctx)
    return 3 * 2 * _BATCH_SIZE * _NUM_CENTERS * _EMBEDDING_SIZE / seconds


def _convolutions(
    comm: Communicator, ctx: mx.Context, precision: str, width: int, channels: int, batch_size: int
) -> float:
    """FLOP/s of 3 x 3 convolutions, forward and backward."""
    symbol = mx.sym.Variable("data")
    for layer in range(_DEEP):
        symbol = mx.sym.Convolution(
            symbol, kernel=(3, 3), pad=(1, 1), num_filter=channels, no_bias=True, name=f"layer{layer}"
        )
    shape = batch_size, channels, width, width
    flops = 6 * _DEEP * batch_size * 9 * channels**2 * width**2
    return flops / _computing(comm, _training_pass(symbol, shape, ctx, precision), ctx)


def _training_pass(
    symbol: mx.sym.Symbol, shape: Tuple[int, ...], ctx: mx.Context, precision: str
) -> Callable[[], None]:
    """Function that runs forward and backward pass of a symbol as training binds it."""
    executor = fast_symbol(symbol, ctx, precision).simple_bind(ctx, grad_req="write", data=shape)
    for array in executor.arg_dict.values():
        array[:] = mx.nd.random.normal(scale=0.01, shape=array.shape, ctx=ctx)
    grad = mx.nd.ones_like(executor.outputs[0])

    def run() -> None:
        executor.forward(is_train=True)
        executor.backward([grad])

    return run


def _layers_bandwidth(comm: Communicator, ctx: mx.Context, precision: str) -> float:
    """Bytes per second of batch normalization, PReLU and sum, counted as network.py counts them."""
    channels, batch_size, width = 64, 4, 112
    images = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(1, 1), num_filter=channels, no_bias=True, name="first")
    symbol = images
    for layer in range(_DEEP):
        symbol = mx.sym.BatchNorm(symbol, fix_gamma=False, name=f"norm{layer}")
        symbol = mx.sym.LeakyReLU(symbol, act_type="prelu", name=f"act{layer}") + images
    work = network(fast_symbol(symbol, ctx, precision), width)
    moved = sum(batch_size * each.moved + each.weight for each in work.operators)
    return moved / _computing(comm, _training_pass(symbol, (batch_size, 3, width, width), ctx, precision), ctx)


def _stream(comm: Communicator, ctx: mx.Context) -> float:
    """Bytes per second of taking and storing every eighth row of an array that no cache holds: 4 passes over these."""
    bank = mx.nd.zeros((_BLOCK * _BLOCKS, _EMBEDDING_SIZE), ctx=ctx)
    rows = mx.nd.arange(0, len(bank), 8, ctx=ctx, dtype="int64")
    chosen = mx.nd.empty((len(rows), _EMBEDDING_SIZE), ctx=ctx)

    def run() -> None:
        mx.nd.take(bank, rows, out=chosen)
        bank[rows] = chosen

    return 4 * 4 * chosen.size / _computing(comm, run, ctx)


def _head_bandwidth(comm: Communicator, ctx: mx.Context) -> float:
    """Bytes per second of what the head does to its chosen centers, block by block."""
    shape = _BLOCK * _BLOCKS, _EMBEDDING_SIZE
    weight, momentum, unit, grad = (mx.nd.random.normal(shape=shape, ctx=ctx) for _ in range(4))
    scratch, optimizer = mx.nd.empty((_BLOCK, _EMBEDDING_SIZE), ctx=ctx), CenterSGD()

    def run() -> None:
        norms = []
        for start in range(0, len(weight), _BLOCK):
            rows = slice(start, start + _BLOCK)
            norms.append(l2_normalize(weight[rows], unit[rows], scratch)[1])
        for number, inverse_norm in enumerate(norms):
            rows = slice(number * _BLOCK, (number + 1) * _BLOCK)
            own = l2_normalize_backward(grad[rows], unit[rows], inverse_norm, scratch)
            optimizer.update(weight[rows], momentum[rows], own, 0.0)

    return 4 * _PASSES * weight.size / _computing(comm, run, ctx)


def _links(comm: Communicator, ctx: mx.Context) -> Dict[str, Tuple[float, float]]:
    """α and β of each collective, from its seconds at two sizes."""
    ranks = comm.world_size
    if ranks == 1:
        return dict.fromkeys(("all_gather", "reduce_scatter", "all_reduce"), (0.0, 1e12))

    def array(size: int, rows: int) -> mx.nd.NDArray:
        return mx.nd.zeros((rows, max(1, size // 4 // ranks)), ctx=ctx)

    def gather(size: int) -> Callable[[], Any]:
        own = array(size, 1)
        return lambda: comm.all_gather(own, name=f"measure_gather{size}")

    def scatter(size: int) -> Callable[[], Any]:
        total = array(size, ranks)
        return lambda: comm.reduce_scatter(total, name=f"measure_scatter{size}")

    def reduce(size: int) -> Callable[[], Any]:
        total = array(size, ranks)
        return lambda: comm.all_reduce({f"measure_reduce{size}": total})

    return dict(
        all_gather=_line(comm, gather, _LARGE, 1),
        reduce_scatter=_line(comm, scatter, _LARGE, 1),
        all_reduce=_line(comm, reduce, _GRADIENTS, 2),
    )


def _line(
    comm: Communicator, prepare: Callable[[int], Callable[[], Any]], large: int, rounds: int
) -> Tuple[float, float]:
    short, long = (_seconds(comm, prepare(size)) / rounds for size in (_SMALL, large))
    steps, ranks = comm.world_size - 1, comm.world_size
    beta = (
        (large - _SMALL) * steps / ranks / max(long - short, long / 2)
    )  # at least: other programs may have delayed the short one
    return max(0.0, short - _SMALL * steps / ranks / beta) / steps, beta


def _host_link(comm: Communicator, ctx: mx.Context) -> float:
    """Bytes per second from host memory to the device."""
    host = mx.nd.zeros((_GRADIENTS // 4,), ctx=mx.cpu())
    return _GRADIENTS / _seconds(comm, lambda: host.as_in_context(ctx))


if __name__ == "__main__":
    main()
