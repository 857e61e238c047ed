"""One rank of benchmarks.head."""

import statistics
from typing import Any, Callable, Dict, Tuple

import mxnet as mx
import numpy as np

from partial_fc.distributed.collectives import connect
from partial_fc.distributed.communicator import Communicator
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.negatives import Negatives
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.head.products import Products
from partial_fc.head.workspace import Workspace

from .head import title
from .measure import interleave, progress, spread, work
from .published import PublishedHead

_LR = 0.1
NEGATIVES = dict(exact=Negatives(0.4), zero=Negatives(0.4, "zero"), correction=Negatives(sampling_correction=True))


class Floor:
    """The three matrix products of one rank's step, each by the operator for such products that is the fastest here.

    Args:
        comm: communicator: the ranks choose together.
        num_rows: C, centers that the rank uses in a step.
        global_batch_size: B.
        embedding_size: D.
    """

    def __init__(self, comm: Communicator, num_rows: int, global_batch_size: int, embedding_size: int) -> None:
        random = np.random.default_rng(comm.rank)
        embeddings, weight = (
            mx.nd.array(random.standard_normal((rows, embedding_size), np.float32))
            for rows in (global_batch_size, num_rows)
        )
        products = matrix_products(embeddings, weight)
        self.fastest = {name: _fastest(comm, candidates) for name, candidates in products.items()}
        self._calls = [products[name][operator] for name, operator in self.fastest.items()]

    def __call__(self, *batch):
        """All three."""
        for call in self._calls:
            call()


def matrix_products(embeddings: mx.nd.NDArray, weight: mx.nd.NDArray) -> Dict[str, Dict[str, Callable[[], Any]]]:
    """Functions by product and operator that compute logits (B, C), and (B, D) and (C, D) as the gradients are."""
    logits = mx.nd.zeros((len(embeddings), len(weight)), embeddings.context)
    grad_embeddings, grad_weight = mx.nd.zeros_like(embeddings), mx.nd.zeros_like(weight)
    fully_connected = dict(no_bias=True, num_hidden=len(weight), out=logits)
    return dict(
        logits={
            "FullyConnected": lambda: mx.nd.FullyConnected(embeddings, weight, **fully_connected),
            "dot": lambda: mx.nd.dot(embeddings, weight, transpose_b=True, out=logits),
            "linalg_gemm2": lambda: mx.nd.linalg_gemm2(embeddings, weight, transpose_b=True, out=logits),
        },
        grad_embeddings={
            "dot": lambda: mx.nd.dot(logits, weight, out=grad_embeddings),
            "linalg_gemm2": lambda: mx.nd.linalg_gemm2(logits, weight, out=grad_embeddings),
        },
        grad_weight={
            "dot": lambda: mx.nd.dot(logits, embeddings, transpose_a=True, out=grad_weight),
            "linalg_gemm2": lambda: mx.nd.linalg_gemm2(logits, embeddings, transpose_a=True, out=grad_weight),
        },
    )


def _fastest(comm, candidates):
    seconds = interleave(comm, candidates, runs=5)
    return min(seconds, key=lambda name: statistics.median(seconds[name]))


class OwnProducts:
    """The three matrix products of one rank's step as the head computes them; arguments as of `Floor`."""

    def __init__(self, precision: str, num_rows: int, global_batch_size: int, embedding_size: int) -> None:
        self._products = Products(precision, Workspace(mx.cpu()))
        self._operands = [
            self._products.operand(mx.nd.random.normal(shape=(rows, embedding_size)), name)
            for rows, name in ((global_batch_size, "embeddings"), (num_rows, "weight"))
        ]

    def __call__(self, *batch):
        """All three."""
        self._products.gradients(self._products.logits(*self._operands), *self._operands)


class Problem:
    """What is measured: the centers of this rank, our head and the baseline on the same, and batches for both."""

    def __init__(
        self,
        comm: Communicator,
        num_classes: int,
        sample_ratio: float,
        embedding_size: int,
        global_batch_size: int,
        precision: str,
    ) -> None:
        self.comm, self.num_classes = comm, num_classes
        self.shape = (global_batch_size // comm.world_size, embedding_size)
        bank = MemoryBank(num_classes, embedding_size, comm, sample_ratio)
        margin = MarginSoftmax(s=64.0, m3=0.4)
        self.head = PartialFC(bank, margin, CenterSGD(), comm, precision)
        self.with_negatives = {
            name: PartialFC(bank, margin, CenterSGD(), comm, precision, negatives=negatives)
            for name, negatives in NEGATIVES.items()
        }
        weight = bank.weight
        assert weight is not None  # of a memory bank it never is
        self.baseline = PublishedHead(weight.copy(), bank.partition.class_start, sample_ratio, margin, comm)

    def batch(self, number: int) -> Tuple[int, mx.nd.NDArray, np.ndarray]:
        """Update, embeddings (b, D) and labels (b,) of a round."""
        random = np.random.default_rng([number, self.comm.rank])
        embeddings = mx.nd.array(random.standard_normal(self.shape, np.float32))
        return number, embeddings, random.integers(0, self.num_classes, self.shape[0])

    def ours(self, number: int, embeddings: mx.nd.NDArray, labels: np.ndarray) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """One update by the head, as partial_fc.training.module does it."""
        return self.head.step(embeddings, self.head.choose(labels, number), _LR)

    def other(self, name: str) -> Callable[..., Tuple[mx.nd.NDArray, mx.nd.NDArray]]:
        """`ours`, with the Negatives of this name."""
        head = self.with_negatives[name]
        return lambda number, embeddings, labels: head.step(embeddings, head.choose(labels, number), _LR)

    def published(
        self, number: int, embeddings: mx.nd.NDArray, labels: np.ndarray
    ) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """The same update by the baseline."""
        return self.baseline.step(embeddings, labels, _LR)

    def num_rows(self) -> int:
        """Centers that this rank uses in a step."""
        rows = self.head.choose(self.batch(0)[2], 0).rows
        return self.head.bank.num_local if rows is None else len(rows)


def measure(comm: Communicator, arguments: Dict[str, Any]) -> Dict[str, Any]:
    """Seconds of `case`, a dictionary of Problem's arguments, in `runs` rounds, also with the names in `negatives`."""
    case, runs = arguments["case"], arguments["runs"]
    progress(comm, f"{title(case)}: setting up")
    problem = Problem(comm, **case)
    sizes = problem.num_rows(), case["global_batch_size"], case["embedding_size"]
    floor, products = Floor(comm, *sizes), OwnProducts(case["precision"], *sizes)
    calls: Dict[str, Callable[..., Any]] = dict(floor=floor, products=products, ours=problem.ours)
    calls.update((name, problem.other(name)) for name in arguments["negatives"])
    calls["published"] = problem.published
    seconds = interleave(comm, calls, runs, problem.batch, title(case))
    result = {
        **spread("step_seconds", seconds["ours"]),
        **spread("floor_seconds", seconds["floor"]),
        **spread("products_seconds", seconds["products"]),
        **spread("published_seconds", seconds["published"]),
    }
    for name, call in (("bytes_sent", problem.ours), ("published_bytes_sent", problem.published)):
        before = comm.bytes_sent
        call(*problem.batch(0))
        result[name] = comm.bytes_sent - before
    result["ratio_to_floor"] = result["step_seconds"] / result["floor_seconds"]
    result["ratio_to_products"] = result["step_seconds"] / result["products_seconds"]
    result["speedup_vs_published"] = result["published_seconds"] / result["step_seconds"]
    for name in arguments["negatives"]:
        result.update(spread(f"{name}_seconds", seconds[name]))
        result[f"ratio_{name}"] = result[f"{name}_seconds"] / result["step_seconds"]
    return {**result, "floor_operators": floor.fastest}


if __name__ == "__main__":
    work(connect(), measure)
