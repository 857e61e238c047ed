"""What an update does to the backbone's parameters, against NumPy, on one rank and on several."""

import itertools
import math

import mxnet as mx
import numpy as np
import pytest

from partial_fc.data.batches import Batch
from partial_fc.errors import CollectiveError
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.training.backbone_update import UpdateRule, gradient_norm
from partial_fc.training.loss_scale import LossScale
from partial_fc.training.module import FaceModule

from helpers.models import network_without_statistics
from helpers.shards import Shards
from reference import relative_error

NUM_CLASSES, EMBEDDING_SIZE, GLOBAL_BATCH_SIZE, SIZE = 101, 16, 12, 16


def batch(comm, num_update):
    """This rank's part of a global batch."""
    random = np.random.RandomState(num_update)
    images = random.randint(0, 256, (GLOBAL_BATCH_SIZE, SIZE, SIZE, 3)).astype(np.uint8)
    labels = random.randint(0, NUM_CLASSES, GLOBAL_BATCH_SIZE)
    own = np.split(np.arange(GLOBAL_BATCH_SIZE), comm.world_size)[comm.rank]
    return Batch(images[own], labels[own], own)


def face_module(comm, rule, sample_ratio=1.0, symbol=None, **arguments):
    bank = MemoryBank(NUM_CLASSES, EMBEDDING_SIZE, comm, sample_ratio)
    head = PartialFC(bank, MarginSoftmax(32, m2=0.3), CenterSGD(), comm)
    symbol = symbol or network_without_statistics()
    size = GLOBAL_BATCH_SIZE // comm.world_size
    return FaceModule(symbol, head, comm, mx.cpu(), size, SIZE, rule=rule, **arguments)


def arrays_of(arrays):
    return {name: array.asnumpy().astype(np.float64) for name, array in arrays.items()}


def trained(rule, world_size, count=4, lr=0.1, **arguments):
    """Parameters, centers and norms after some updates; every rank has the same parameters and norms."""

    def work(comm):
        module = face_module(comm, rule, **arguments)
        norms = []
        for num_update in range(count):
            module.update(batch(comm, num_update), num_update, lr, 0.1)
            norms.append(module._optimizer.grad_norm)
        return arrays_of(module.arg_params), norms, module.head.bank.weight.asnumpy()

    results = Shards(world_size).run(work)
    for parameters, norms, _ in results[1:]:
        assert norms == results[0][1]
        assert all(np.array_equal(parameters[name], results[0][0][name]) for name in parameters)
    return results[0][0], results[0][1], np.concatenate([weight for *_, weight in results])


@pytest.mark.parametrize("loss_scale", [None, 2.0**12])
def test_gradients_are_clipped_as_in_float64(loss_scale):
    """Some of the updates are clipped, the others not; weight decay and momentum are not."""
    lr, wd, limit = 0.05, 0.01, 37.0

    def work(comm):
        rule = UpdateRule(wd=wd, clip_gradient_norm=limit)
        module = face_module(comm, rule, loss_scale=loss_scale and LossScale(loss_scale))
        weights = arrays_of(module.arg_params)
        momentum = {name: np.zeros_like(array) for name, array in weights.items()}
        norms = []
        for num_update in range(6):
            module.update(batch(comm, num_update), num_update, lr, 0.1)
            gradients = arrays_of(module._parameter_gradients)
            gradients = {name: gradient / (loss_scale or 1) for name, gradient in gradients.items()}
            norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
            assert module._optimizer.grad_norm == pytest.approx(norm, rel=1e-6)
            norms.append(norm)
            for name in weights:
                clipped = gradients[name] * min(1, limit / norm)
                momentum[name] = 0.9 * momentum[name] - lr * (clipped + wd * weights[name])
                weights[name] += momentum[name]
        assert min(norms) < limit < max(norms), norms
        for name, array in module.arg_params.items():
            assert relative_error(array.asnumpy(), weights[name]) < 1e-6, name
        return True

    assert Shards(1).run(work) == [True]


@pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
@pytest.mark.parametrize("world_size", [2, 3])
def test_norm_is_that_of_the_global_batch_on_any_number_of_ranks(world_size, sample_ratio):
    rule = UpdateRule(clip_gradient_norm=1.0)
    # With a sample ratio below 1, ranks choose other centers than one rank alone: only the first holds in general.
    one, many = (trained(rule, size, sample_ratio=sample_ratio) for size in (1, world_size))
    assert min(one[1]) > 1 and len(set(many[1])) == 4
    if sample_ratio == 1:
        assert many[1] == pytest.approx(one[1], rel=1e-5)
        assert all(relative_error(many[0][name], one[0][name]) < 1e-5 for name in one[0])
        assert relative_error(many[2], one[2]) < 1e-5


def test_a_limit_that_is_never_reached_changes_no_bit():
    (plain, no_norms, _), (limited, norms, _) = (
        trained(UpdateRule(clip_gradient_norm=limit), 2) for limit in (0.0, 1e9)
    )
    assert no_norms == [None] * 4 and all(0 < norm < 1e9 for norm in norms)
    assert all(np.array_equal(plain[name], limited[name]) for name in plain)


def test_norm_of_millions_of_numbers():
    random = np.random.RandomState(0)
    arrays = [random.randn(*shape).astype(np.float32) * 1e-3 for shape in ((512, 25088), (3, 5, 7), (1,))]
    norm = gradient_norm({str(index): mx.nd.array(array) for index, array in enumerate(arrays)})
    assert norm == pytest.approx(math.sqrt(sum((array.astype(np.float64) ** 2).sum() for array in arrays)), rel=1e-6)


def test_gradients_that_are_all_zero_have_no_direction_to_keep():
    assert gradient_norm({"a": mx.nd.zeros((3, 4))}) == 0
    parameters, norms, _ = trained(UpdateRule(wd=0.0, clip_gradient_norm=1.0), 1, lr=0.0)
    assert all(np.isfinite(array).all() for array in parameters.values()) and norms[0] > 0


@pytest.mark.parametrize("world_size", [1, 3])
def test_gradients_that_are_not_finite_end_all_ranks(world_size):
    def work(comm):
        module = face_module(comm, UpdateRule(clip_gradient_norm=1.0))
        before = arrays_of(module.arg_params)
        backward = module.module.backward

        def overflowing(grads):
            backward(grads)
            if comm.rank == world_size - 1:
                module._parameter_gradients["fc1_weight"][1:2] = np.inf

        module.module.backward = overflowing
        with pytest.raises(CollectiveError, match="update 1: the norm of the backbone's gradients is inf; try a small"):
            module.update(batch(comm, 0), 0, 0.1, 0.1)
        return all(np.array_equal(before[name], array) for name, array in arrays_of(module.arg_params).items())

    assert Shards(world_size).run(work) == [True] * world_size


def test_callbacks_learn_the_norm():
    def work(comm):
        module, norms = face_module(comm, UpdateRule(clip_gradient_norm=1.0)), []
        batches = (batch(comm, number) for number in itertools.count())
        module.fit(batches, lambda _: (0.1, 0.1), 3, [lambda stats: norms.append(stats.grad_norm)])
        return norms

    first, second = Shards(2).run(work)
    assert first == second and len(set(first)) == 3 and min(first) > 0
