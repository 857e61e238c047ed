"""LARS against its formulas in NumPy and float64."""

import math

import mxnet as mx
import numpy as np
import pytest
from training.test_backbone_update import GLOBAL_BATCH_SIZE, NUM_CLASSES, SIZE, arrays_of, batch

from partial_fc.distributed.communicator import Communicator
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.training.backbone_update import UpdateRule
from partial_fc.training.loss_scale import LossScale
from partial_fc.training.module import FaceModule
from partial_fc.training.optimizers import PartialFCLARS

from helpers.models import network_without_statistics
from helpers.shards import Shards
from reference import lars, relative_error


def face_module(comm, rule, **arguments):
    head = PartialFC(MemoryBank(NUM_CLASSES, 16, comm), MarginSoftmax(32, m2=0.3), CenterSGD(), comm)
    size = GLOBAL_BATCH_SIZE // comm.world_size
    return FaceModule(network_without_statistics(), head, comm, mx.cpu(), size, SIZE, rule=rule, **arguments)


@pytest.mark.parametrize(
    "limit, loss_scale, momentum", [(0.0, None, 0.9), (20.0, None, 0.9), (20.0, 2.0**12, 0.9), (0.0, None, 0.0)]
)
def test_updates_are_those_of_numpy(limit, loss_scale, momentum):
    """With factors, clipping, a loss scale and a learning rate that changes."""
    wd = 0.05
    mults = dict(lr_mult=("fc1.*:2",), wd_mult=("conv0.*:0.5",))
    rule = UpdateRule("lars", momentum=momentum, wd=wd, clip_gradient_norm=limit, **mults)
    module = face_module(Communicator(), rule, loss_scale=loss_scale and LossScale(loss_scale))
    module.arg_params["fc1_bias"][:] = 1
    weights = arrays_of(module.arg_params)
    velocity = {name: np.zeros_like(array) for name, array in weights.items()}
    for num_update in range(6):
        lr = 5 / (1 + num_update)
        module.update(batch(Communicator(), num_update), num_update, lr, 0.1)
        gradients = arrays_of(module._parameter_gradients)
        norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients.values())) / (loss_scale or 1)
        for name, gradient in gradients.items():
            gradient *= (min(1, limit / norm) if limit else 1) / (loss_scale or 1)
            decay, rate = wd * (0.5 if name == "conv0_weight" else 1), lr * (2 if name.startswith("fc1") else 1)
            weights[name], velocity[name] = lars(weights[name], velocity[name], gradient, rate, decay, momentum)
    assert set(module.momentum) == set(weights)
    for name, array in module.arg_params.items():
        assert relative_error(array.asnumpy(), weights[name]) < 2e-6, name
        assert relative_error(module.momentum[name].asnumpy(), velocity[name]) < 5e-6, name


@pytest.mark.parametrize("world_size", [2, 3])
def test_any_number_of_ranks_makes_the_same_updates(world_size):
    def trained(comm):
        module = face_module(comm, UpdateRule("lars"))
        for num_update in range(4):
            module.update(batch(comm, num_update), num_update, 5.0, 0.1)
        return arrays_of(module.arg_params)

    ((one,), many) = (Shards(size).run(trained) for size in (1, world_size))
    for name, array in one.items():
        assert all(np.array_equal(each[name], many[0][name]) for each in many)
        assert relative_error(many[0][name], array) < 1e-5, name


def update(weight, grad, lr=2.0, wd=0.1):
    """A weight after one update of LARS alone."""
    optimizer = PartialFCLARS(momentum=0.9, learning_rate=lr, wd=wd, rescale_grad=0.5)
    weight, grad = mx.nd.array(weight), mx.nd.array(grad)
    state = optimizer.create_state_multi_precision(0, weight)
    optimizer.update_multi_precision(0, weight, grad, state)
    return weight.asnumpy()


def test_the_rate_of_millions_of_numbers():
    """Their squares, added one after the other in float32, would give another norm."""
    random = np.random.RandomState(0)
    weight, grad = (random.randn(512, 25088).astype(np.float32) * 1e-2 for _ in range(2))
    wide = weight.astype(np.float64)
    expected, _ = lars(wide, 0 * wide, 0.5 * grad.astype(np.float64), 2.0, 0.1, 0.9)
    assert relative_error(update(weight, grad) - wide, expected - wide) < 1e-4


@pytest.mark.parametrize("weight, grad", [(np.zeros((3, 4)), np.ones((3, 4))), (np.ones((3, 4)), np.zeros((3, 4)))])
def test_without_a_norm_the_rate_is_that_of_sgd(weight, grad):
    assert np.allclose(update(weight, grad), weight - 2.0 * (0.5 * grad + 0.1 * weight))


@pytest.mark.parametrize("shape", [(7,), (1,)])
def test_parameters_of_one_dimension_have_the_rate_of_sgd(shape):
    weight, grad = np.full(shape, 3.0), np.full(shape, 0.5)
    assert np.allclose(update(weight, grad), weight - 2.0 * (0.5 * grad + 0.1 * weight))
