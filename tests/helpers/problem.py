"""A batch and centers to try the head on, on whatever ranks, and the truth to hold the results against."""

import mxnet as mx
import numpy as np

from partial_fc.head.adaface import AdaFace
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.negatives import Negatives
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC

import reference
from reference import Filtering, Margin, Step, relative_error, step

LOSSES = {
    "arcface": Margin(64.0, m2=0.5),
    "cosface": Margin(64.0, m3=0.4),
    "softmax": Margin(64.0),
    "combined": Margin(32.0, m1=0.9, m2=0.3, m3=0.15),
    "insightface": Margin(64.0, 1.0, 0.3, 0.2),
    # Lengths are about 4.9, deviation 0.7: z takes all values in [-1, 1], both ends with them.
    "adaface": reference.AdaFace(64.0, m=0.4, h=0.8, t_alpha=0.3, mean=4.5, std=0.5),
}
LR = 0.1


def make_margin(margin, warmup=0):
    """The library's margin for one of the reference."""
    if not isinstance(margin, reference.AdaFace):
        return MarginSoftmax(*margin, warmup=warmup)
    result = AdaFace(margin.s, margin.m, margin.h, margin.t_alpha, warmup)
    result.load(dict(mean=margin.mean, std=margin.std))
    return result


class RecordingSGD(CenterSGD):
    """Keeps the gradient of the centers that it is given, by blocks."""

    def __init__(self):
        super().__init__()
        self.grads = []

    def update(self, weight, weight_mom, grad, lr):
        self.grads.append(grad.asnumpy())
        super().update(weight, weight_mom, grad, lr)


class Problem:
    """Embeddings, labels, centers and momentum of N classes; the batch must be a multiple of every world size."""

    def __init__(self, num_classes=101, batch_size=30, embedding_size=24, sub_centers=1, negatives=None):
        self.negatives = negatives or Negatives()
        random = np.random.RandomState(0)
        self.num_classes, self.embedding_size = num_classes, embedding_size
        self.labels = random.randint(0, num_classes, batch_size)
        self.labels[1:4] = self.labels[0]  # a class with several samples
        self.embeddings = random.randn(batch_size, embedding_size).astype(np.float32)
        self.sub_centers, self.row_size = sub_centers, sub_centers * embedding_size
        self.weight = (random.randn(num_classes, self.row_size) * 0.1).astype(np.float32)
        self.weight_mom = (random.randn(num_classes, self.row_size) * 0.01).astype(np.float32)

    def saturate(self):
        """Put every embedding close to its center: probabilities near 1."""
        noise = np.random.RandomState(1).randn(*self.embeddings.shape) * 0.02
        self.embeddings = (self.weight[self.labels, -self.embedding_size :] * 5 + noise).astype(np.float32)
        return self

    def step_on(
        self,
        comm,
        margin,
        sample_ratio=1.0,
        ctx=None,
        make_bank=MemoryBank,
        precision="float32",
        warmup=0,
        num_update=0,
        parts=1,
    ):
        """One step as the rank ``comm.rank``: its part of the fields of `Step`, and the ids of the chosen classes.

        With ``parts`` the batch comes in so many micro-batches.
        """
        bank = make_bank(self.num_classes, self.row_size, comm, sample_ratio, ctx, seed=7)
        own = slice(*bank.partition)
        bank.set(bank.partition.class_start, self.weight[own], self.weight_mom[own])
        optimizer = RecordingSGD()
        head = PartialFC(
            bank, make_margin(margin, warmup), optimizer, comm, precision, self.sub_centers, self.negatives
        )
        batch = np.split(np.arange(len(self.labels)), comm.world_size)[comm.rank]
        choice = head.choose(self.labels[batch], num_update)
        losses, grads = [], []
        for part, some in zip(choice.micro_batches(parts), np.split(batch, parts)):
            results = head.step(mx.nd.array(self.embeddings[some], ctx), part, LR)
            for kept, result in zip((losses, grads), results):
                kept.append(result.asnumpy())
        loss, grad = np.sum(losses, axis=0), np.concatenate(grads)
        if not bank.num_local:
            nothing = np.zeros((0, self.row_size))
            return loss, grad, nothing, nothing, nothing, np.zeros(0, int)
        rows = np.arange(bank.num_local) if choice.rows is None else choice.rows
        grad_weight = np.zeros_like(self.weight[own])
        grad_weight[rows] = np.concatenate(optimizer.grads).reshape(len(rows), -1)
        centers = tuple(map(np.array, bank.to_numpy()))
        return (loss, grad, grad_weight) + centers + (rows + bank.partition.class_start,)

    def cosines(self, chosen):
        """Cosines (B, C) of the samples and the closest centers of the chosen classes, and one-hot labels (B, C)."""
        centers = self.weight.reshape(self.num_classes, self.sub_centers, -1)[chosen].astype(float)
        centers /= np.linalg.norm(centers, axis=2, keepdims=True)
        unit = self.embeddings / np.linalg.norm(self.embeddings.astype(float), axis=1, keepdims=True)
        return np.einsum("bd,ckd->bck", unit, centers).max(axis=2), self.labels[:, None] == np.asarray(chosen)

    def threshold_in_a_gap(self, low, high):
        """A threshold from which all cosines are far, so that rounding does not change what is filtered."""
        cosines = np.sort(self.cosines(np.arange(self.num_classes))[0].ravel())
        cosines = cosines[(cosines > low) & (cosines < high)]
        widest = np.diff(cosines).argmax()
        return float(cosines[widest : widest + 2].mean())

    def num_filtered(self, chosen):
        """Filtered logits in the whole batch."""
        return reference.filtered_entries(*self.cosines(chosen), self._filtering()).sum()

    def _filtering(self):
        return Filtering(self.negatives.filtering, self.negatives.mode == "zero") if self.negatives.filtering else None

    def truth(self, chosen, margin, dtype=np.float64, world_size=1):
        """The reference's `Step` for the same chosen classes; the sampling correction depends on the world size."""
        more = dict(dtype=dtype, filtering=self._filtering())
        if self.negatives.sampling_correction:
            corrections = reference.sampling_corrections(self.labels, chosen, self.num_classes, world_size)
            more["corrections"] = corrections.astype(dtype)
        if self.sub_centers > 1:
            weight, mom = (each.reshape(len(each), self.sub_centers, -1) for each in (self.weight, self.weight_mom))
            arguments = self.embeddings, self.labels, weight, mom, chosen, margin, LR, self.sub_centers
            return reference.sub_center_step(*arguments, **more)
        return step(self.embeddings, self.labels, self.weight, self.weight_mom, chosen, margin, LR, **more)


def assemble(parts):
    """`Step` and chosen classes from the parts of all ranks, in their order."""
    losses, *arrays = zip(*parts)
    assert len({loss.tobytes() for loss in losses}) == 1, "the loss must be bit-equal on every rank"
    *fields, chosen = (np.concatenate(array) for array in arrays)
    return Step(losses[0], *fields), chosen


def errors(result, truth, bound=1e-5):
    """Name, norm-wise relative error and limit of every field of a `Step`; ``bound`` is a number or a Step of them."""
    for name in Step._fields:
        limit = getattr(bound, name) if isinstance(bound, Step) else bound
        yield name, relative_error(getattr(result, name), getattr(truth, name)), limit


def assert_close(result, truth, bound=1e-5):
    """Every field of a `Step` within its limit, see `errors`."""
    for name, error, limit in errors(result, truth, bound):
        assert error <= limit, f"{name}: relative error {error:.2g} > {limit:.2g}"


def float32_bound(problem, chosen, margin):
    """Per field 1e-5, or four times the error of the same formula in dense float32 where that is more."""
    truth, dense = problem.truth(chosen, margin), problem.truth(chosen, margin, np.float32)
    return Step(*[max(1e-5, 4 * relative_error(value, exact)) for value, exact in zip(dense, truth)])
