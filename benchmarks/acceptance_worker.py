"""One rank of benchmarks.acceptance. It uses what the tests use: their reference, and their ranks in one process."""

import functools
import itertools
import resource
import statistics
import tempfile
from typing import Any, Dict, Iterator, List, Optional

import mxnet as mx
import numpy as np

from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run
from partial_fc.data.synthetic import SyntheticBatches
from partial_fc.distributed.collectives import Communicator, connect
from partial_fc.head.host_bank import HostBank
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.planning.memory import memory_plan
from partial_fc.symbol import get_symbol
from partial_fc.training.build import build

from . import acceptance_precision
from .collectives_worker import calls
from .head_worker import matrix_products
from .measure import interleave, work
from .step_worker import Update
from helpers.problem import LOSSES, Problem, assemble, errors, float32_bound
from helpers.shards import Shards
from parallel.head_worker import check_collectives
from parallel.model_worker import train as train_model
from reference import relative_error

_BANKS = {"centers on the device": MemoryBank, "centers on the host": HostBank}
_WORLDS = (1, 2, 3, 5)
_RATIOS = (1.0, 0.3)
_LR = 0.1


def case(check: str, value: float, limit: Optional[float] = None, unit: str = "") -> Dict[str, Any]:
    """One line of the table; a check without a limit is a figure to look at."""
    passed = None if limit is None else bool(value <= limit)
    return dict(check=check, value=float(value), limit=limit, unit=unit, passed=passed)


def measure_shards(comm: Communicator, ctx: mx.Context, arguments: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """The head by several ranks of this process, on one device."""
    for world_size in _WORLDS:
        for place, make_bank in _BANKS.items():
            worst = max(
                _error(problem, margin, Shards(world_size).run(step))
                for problem, margin, step in _problems(world_size, ctx, make_bank)
            )
            yield case(f"head, {world_size} in one process, {place}: error", worst, 1.0)


def measure_ranks(comm: Communicator, ctx: mx.Context, arguments: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Head, model and collectives by real ranks."""
    check_collectives(comm, ctx)  # raises
    yield case("collectives: wrong values", 0, 0)
    for place, make_bank in _BANKS.items():
        worst = max(
            _error(problem, margin, _gather(comm, step(comm)))
            for problem, margin, step in _problems(comm.world_size, ctx, make_bank)
        )
        yield case(f"head, {place}: error", worst, 1.0)
    limit = 1e-5 if ctx.device_type == "cpu" else 1e-4  # cuDNN sums in another order
    yield case("model, two updates: error", _model_error(comm, ctx) / limit, 1.0)
    exchanges = calls(comm, ctx)
    seconds = interleave(comm, {name: call for name, (call, _) in exchanges.items()}, arguments["runs"])
    for name, (_, size) in exchanges.items():
        yield case(name, size / 1e9 / statistics.median(seconds[name]), unit="GB/s")


def _problems(world_size, ctx, make_bank):
    """A problem, a margin, and the function of a communicator that does the step of one rank."""
    batch_size = world_size * max(1, 30 // world_size)
    for margin, ratio in itertools.product(LOSSES.values(), _RATIOS):
        for problem in (Problem(batch_size=batch_size), Problem(batch_size=batch_size).saturate()):
            further = dict(margin=margin, sample_ratio=ratio, ctx=ctx, make_bank=make_bank)
            yield problem, margin, functools.partial(problem.step_on, **further)


def _gather(comm, part):
    """Parts of all ranks, as they were."""
    parts = comm.all_gather_object([[array.dtype.name, array.tolist()] for array in map(np.asarray, part)])
    return [[np.array(values, dtype) for dtype, values in each] for each in parts]


def _error(problem, margin, parts):
    """The largest error over the fields of a step, as a share of its limit."""
    result, chosen = assemble(parts)
    bound = float32_bound(problem, chosen, margin)
    return max(error / limit for _, error, limit in errors(result, problem.truth(chosen, margin), bound))


def _model_error(comm, ctx):
    """Of parameters, losses and embeddings after two updates, against one rank on the CPU."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        train_model(comm, folder, ctx, 4 * comm.world_size)
        train_model(Communicator(), other, global_batch_size=4 * comm.world_size)
        model, truth = np.load(f"{folder}/model-{comm.rank}.npz"), np.load(f"{other}/model-0.npz")
        return max(comm.all_gather_object(max(relative_error(model[name], truth[name]) for name in truth.files)))


def measure_low(comm: Communicator, ctx: mx.Context, arguments: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Head and backbone in low precision against their references, and an update that is skipped."""
    precision = arguments["precision"]
    worst = acceptance_precision.head_error(comm, ctx, precision, _gather)
    yield case(f"head in {precision}: error", worst, 1.0)
    embeddings, gradients = acceptance_precision.backbone_errors(ctx, precision)
    yield case(f"backbone in {precision}: error of embeddings", embeddings, acceptance_precision.EMBEDDINGS_LIMIT)
    yield case(f"backbone in {precision}: error of gradients", gradients, acceptance_precision.GRADIENTS_LIMIT)
    failures = acceptance_precision.skipping_failures(comm, ctx, precision)
    yield case(f"overflow in {precision}: not skipped as it must be", failures, 0)


def measure_speed(comm: Communicator, ctx: mx.Context, arguments: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Products, and training."""
    precision = arguments["precision"]
    measure_products = _products if precision == "float32" else _low_products
    yield from measure_products(comm, ctx, arguments["runs"], precision, **arguments["products"])
    global_batch_size = comm.world_size * arguments["batch_size"]
    further = dict(arguments["step"], precision=precision)
    update = Update(comm, ctx=ctx, global_batch_size=global_batch_size, **further)
    timed = dict(backbone=update.backbone, head=update.head_alone, training=update.both)
    seconds = interleave(comm, timed, arguments["runs"], update.batch)
    for name, values in seconds.items():
        title = f"{name} in {precision}, {arguments['step']['network']}, {update.num_classes:,} classes"
        yield case(title, global_batch_size / statistics.median(values), unit="images/s")


def _products(comm, ctx, runs, precision, num_rows, global_batch_size, embedding_size):
    embeddings, weight = (
        mx.nd.random.normal(shape=(rows, embedding_size), ctx=ctx) for rows in (global_batch_size, num_rows)
    )
    operations = 2e-9 * num_rows * global_batch_size * embedding_size
    for name, candidates in matrix_products(embeddings, weight).items():
        for operator, values in interleave(comm, candidates, runs).items():
            yield case(f"{name} by {operator}", operations / statistics.median(values), unit="GFLOP/s per rank")


def _low_products(comm, ctx, runs, precision, **sizes):
    each = 2e-9 * sizes["num_rows"] * sizes["global_batch_size"] * sizes["embedding_size"]
    for title, count, call in acceptance_precision.products(ctx, precision, **sizes):
        (values,) = interleave(comm, {title: call}, runs).values()
        yield case(title, count * each / statistics.median(values), unit="GFLOP/s per rank")


def measure_memory(comm: Communicator, ctx: mx.Context, arguments: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Memory that a run takes, of the rank that takes most, as a share of what was planned."""
    precision = arguments["precision"]
    config = from_command_line([*arguments["memory"], f"--precision={precision}"])
    run = Run(config, config.models_root, config.num_classes)
    symbol = get_symbol(config.network, config.embedding_size, config.net_output)
    planned = memory_plan(run, symbol, comm.world_size, ctx, precision)
    before = 0
    if ctx.device_type != "cpu":
        del planned["libraries"]
        mx.nd.ones((1,), ctx).wait_to_read()  # brings CUDA's own onto the device
        before = _used(ctx)
    module = build(run, comm, ctx)
    batches = SyntheticBatches(config.num_classes, config.image_size, config.batch_size, comm)
    for num_update in range(3):
        module.update(batches.read(num_update), num_update, _LR, _LR)
    mx.nd.waitall()
    used = max(comm.all_gather_object(_used(ctx) - before))
    total = sum(planned.values())
    yield case(f"memory in {precision}, planned", total / 2**20, unit="MiB")
    yield case(f"memory in {precision}, used / planned", used / total, 1.0)


def _used(ctx):
    """Bytes: of a GPU those in use now, MXNet's pool among them; on the CPU the most that this process has held."""
    if ctx.device_type == "cpu":
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    free, total = mx.context.gpu_memory_info(ctx.device_id)
    return total - free


def measure(comm: Communicator, arguments: Dict[str, Any]) -> List[Dict[str, Any]]:
    """List of cases of what `measure` names."""
    ctx = mx.gpu(comm.local_rank) if arguments["device"] == "gpu" else mx.cpu()
    functions = dict(
        shards=measure_shards, ranks=measure_ranks, speed=measure_speed, memory=measure_memory, low=measure_low
    )
    return list(functions[arguments["measure"]](comm, ctx, arguments))


if __name__ == "__main__":
    work(connect(), measure)
