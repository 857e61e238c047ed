"""What benchmarks.acceptance checks in low precision: float16 on GPUs, bfloat16 on a CPU."""

import functools
from typing import Any, Callable, Dict, Iterator, List, Tuple, cast

import mxnet as mx
import numpy as np

from partial_fc.backbone.fast import fast_symbol
from partial_fc.data.batches import Batch
from partial_fc.distributed.communicator import Communicator
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.head.products import Products
from partial_fc.head.workspace import Workspace
from partial_fc.symbol import get_symbol
from partial_fc.training.loss_scale import LossScale
from partial_fc.training.module import FaceModule

from helpers.problem import LOSSES, Problem, assemble, errors
from reference import Step, relative_error

# Relative errors that are allowed: of loss, both gradients, centers and momentum; of embeddings and gradients of a
# backbone, against float32 on a CPU.
HEAD_LIMITS = Step(0.01, 0.03, 0.03, 0.03, 0.03)
EMBEDDINGS_LIMIT, GRADIENTS_LIMIT = 0.02, 0.1
_CLASSES, _EMBEDDING_SIZE, _BATCH_SIZE, _SIZE = 101, 16, 8, 32
_LR, _RATIOS = 0.1, (1.0, 0.3)
_OVERFLOWS = "grad/pre_fc1_weight"
Gather = Callable[[Communicator, Any], List[Any]]


def head_error(comm: Communicator, ctx: mx.Context, precision: str, gather: Gather) -> float:
    """The largest error of a step of the head against the dense float64 reference, as a share of the allowed one.

    gather: function of the communicator and of this rank's part to the parts of all ranks.
    """
    problem, worst = Problem(batch_size=comm.world_size * max(1, 30 // comm.world_size)), 0.0
    for margin in LOSSES.values():
        for ratio in _RATIOS:
            part = problem.step_on(comm, margin, ratio, ctx, precision=precision)
            result, chosen = assemble(gather(comm, part))
            found = errors(result, problem.truth(chosen, margin), HEAD_LIMITS)
            worst = max(worst, *(error / limit for _, error, limit in found))
    return worst


def backbone_errors(ctx: mx.Context, precision: str) -> Tuple[float, float]:
    """Of embeddings, and of all gradients together, of a network of random parameters: see EMBEDDINGS_LIMIT."""
    low = _embeddings_and_gradients(ctx, precision)
    exact = _embeddings_and_gradients(mx.cpu(), "float32")
    return relative_error(low[0], exact[0]), relative_error(low[1], exact[1])


def _embeddings_and_gradients(ctx, precision):
    symbol = get_symbol("r18", _EMBEDDING_SIZE)
    fast, random = fast_symbol(symbol, ctx, precision), np.random.RandomState(0)
    executor = fast.simple_bind(ctx, "write", data=(_BATCH_SIZE, 3, _SIZE, _SIZE))
    for name in symbol.list_arguments():
        array = executor.arg_dict[name]
        array[:] = _value(random, name, array.shape)
    for name in symbol.list_auxiliary_states():
        executor.aux_dict[name][:] = float(name.endswith("var"))
    embeddings = executor.forward(is_train=True)[0].asnumpy()
    executor.backward(mx.nd.array(random.randn(*embeddings.shape), ctx))
    names = [name for name in symbol.list_arguments() if name != "data"]
    return embeddings, np.concatenate([executor.grad_dict[name].asnumpy().ravel() for name in names])


def _value(random, name, shape):
    if name == "data":
        return random.randint(0, 256, shape)
    if len(shape) == 1:
        return 0.25 if "relu" in name else float(name.endswith("gamma"))
    return random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)


def skipping_failures(comm: Communicator, ctx: mx.Context, precision: str) -> int:
    """How much of what an overflow must do is not done, on any rank.

    In the second of three updates a gradient of the last rank is made infinite: no rank may change anything in it, all
    must halve the loss scale, and all must go on with the third.
    """
    bank = MemoryBank(_CLASSES, _EMBEDDING_SIZE, comm, ctx=ctx)
    head = PartialFC(bank, MarginSoftmax(16.0, m3=0.2), CenterSGD(), comm, precision)
    symbol, scale = get_symbol("demo", _EMBEDDING_SIZE), LossScale()
    module = FaceModule(symbol, head, comm, ctx, _BATCH_SIZE, _SIZE, precision=precision, loss_scale=scale)
    states, scales = [], []
    for num_update, sums in enumerate((comm, _Overflowing(comm), comm)):
        module.comm = cast(Communicator, sums)
        module.update(_batch(num_update, comm.rank), num_update, _LR, _LR)
        states.append(_state(module))
        scales.append(scale.scale)
    first = LossScale().scale
    wrong = [states[1] != states[0], states[2] == states[1], scales != [first, first / 2, first / 2]]
    return sum(comm.all_gather_object(sum(wrong)))


class _Overflowing:
    """A communicator whose last rank has an infinite gradient in the sum."""

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._comm, name)

    def all_reduce(self, arrays: Dict[str, mx.nd.NDArray]) -> None:
        """As that of the communicator."""
        if self._comm.rank == self._comm.world_size - 1:
            arrays[_OVERFLOWS][:1] = np.inf
        self._comm.all_reduce(arrays)


def _batch(seed, rank):
    random = np.random.RandomState([seed, rank])
    images = random.randint(0, 256, (_BATCH_SIZE, _SIZE, _SIZE, 3)).astype(np.uint8)
    labels = random.randint(0, _CLASSES, _BATCH_SIZE)
    return Batch(images, labels, labels)


def _state(module):
    """Parameters, momentum and centers, bit for bit."""
    arrays = [*module.arg_params.values(), *module.momentum.values()]
    return b"".join(array.asnumpy().tobytes() for array in arrays) + b"".join(map(bytes, module.head.bank.to_numpy()))


def products(
    ctx: mx.Context, precision: str, num_rows: int, global_batch_size: int, embedding_size: int
) -> Iterator[Tuple[str, float, Callable[[], Any]]]:
    """Title, number of products, and function of the products of a step of the head in low precision."""
    made = Products(precision, Workspace(ctx))
    shapes = dict(embeddings=(global_batch_size, embedding_size), weight=(num_rows, embedding_size))
    embeddings, weight = (
        made.operand(mx.nd.random.normal(shape=shape, ctx=ctx), name) for name, shape in shapes.items()
    )
    logits = made.logits(embeddings, weight)
    yield f"logits in {precision}", 1, functools.partial(made.logits, embeddings, weight)
    yield f"both gradients in {precision}", 2, functools.partial(made.gradients, logits, embeddings, weight)
