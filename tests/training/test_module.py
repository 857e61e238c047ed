import itertools
from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest

from partial_fc.data.batches import Batch
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError, InputError
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.symbol import get_symbol
from partial_fc.training import module as module_file
from partial_fc.training.backbone_update import UpdateRule
from partial_fc.training.module import FaceModule

from helpers.models import mobilefacenet
from helpers.updates import weight_decay
from reference import relative_error

NUM_CLASSES, EMBEDDING_SIZE, BATCH_SIZE, SIZE = 11, 8, 4, 16


class OneOf(Communicator):
    """A rank whose others send nothing: gathers and sums are its own part."""

    def __init__(self, world_size, rank):
        self.world_size, self.rank = world_size, rank


class Doubling(Communicator):
    """Rank 0 of two; the other always adds 10."""

    world_size = 2

    def all_reduce(self, arrays):
        self.names = list(arrays)
        for array in arrays.values():
            array += 10


def face_module(net_output="FC", comm=None, seed=0, size=SIZE, batch_size=BATCH_SIZE, symbol=None, **arguments):
    comm = comm or Communicator()
    bank = MemoryBank(NUM_CLASSES, EMBEDDING_SIZE, comm, seed=seed)
    head = PartialFC(bank, MarginSoftmax(16, m3=0.2), CenterSGD(), comm)
    if symbol is None:
        symbol = get_symbol("demo", EMBEDDING_SIZE, net_output)
    rule = UpdateRule(**{name: arguments.pop(name) for name in ("wd", "bias_decay") if name in arguments})
    return FaceModule(symbol, head, comm, mx.cpu(), batch_size, size, seed, rule, **arguments)


def batch(seed=0, size=SIZE):
    random = np.random.RandomState(seed)
    images = random.randint(0, 256, (BATCH_SIZE, size, size, 3)).astype(np.uint8)
    return Batch(images, random.randint(0, NUM_CLASSES, BATCH_SIZE), np.arange(BATCH_SIZE))


def parameters(module):
    return {name: array.asnumpy() for name, array in {**module.arg_params, **module.aux_params}.items()}


def losses_of(module, *updates):
    """Losses of updates that change no parameter."""
    return [module.update(batch(), num_update, 0.0, 0.0) for num_update in updates]


@pytest.mark.parametrize("kind, reseeds", [("rrelu", True), ("leaky", False)])
def test_random_activations_are_reseeded_too(kind, reseeds, monkeypatch):
    """MXNet 1.9.1 binds rrelu, but crashes when it computes it on a CPU."""
    seeds = []
    body = mx.sym.LeakyReLU(mx.sym.Variable("data"), act_type=kind)[0]
    module = face_module(symbol=mx.sym.FullyConnected(body, num_hidden=EMBEDDING_SIZE, name="fc"))
    monkeypatch.setattr(mx.random, "seed", seeds.append)
    for num_update, part in ((0, 0), (1, 0), (1, 1), (0, 0)):
        module._reseed(num_update, part)
    assert (len(set(seeds)) == 3 and seeds[0] == seeds[3]) if reseeds else not seeds


def test_dropout_is_a_function_of_seed_update_and_rank():
    module = face_module("E")
    first, second, first_again = losses_of(module, 5, 6, 5)
    assert first == first_again and first != second
    module.embed(batch().images)  # what else is drawn or computed in between does not matter
    mx.nd.random.uniform(shape=(1000,)).wait_to_read()
    assert losses_of(module, 5) == [first]
    module.seed = 1
    assert losses_of(module, 5) != [first]
    module.seed, module.comm = 0, OneOf(1, rank=1)
    assert losses_of(module, 5) != [first]


def test_without_dropout_the_update_does_not_matter():
    first, second = losses_of(face_module("FC"), 5, 6)
    assert first == second


def test_initial_parameters_are_a_function_of_the_seed():
    mx.random.seed(5)
    first = parameters(face_module())
    mx.random.seed(6)
    again, other = parameters(face_module()), parameters(face_module(seed=1))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["stage1_conv_weight"], other["stage1_conv_weight"])


def test_update_moves_all_parameters_and_centers():
    module = face_module()
    before, centers = parameters(module), module.head.bank.weight.asnumpy()
    loss = module.update(batch(), 0, 0.1, 0.1)
    assert type(loss) is float and loss > 0
    after = parameters(module)
    fixed = {"fc1_gamma"}  # the gain of the last layer
    assert all(not np.array_equal(before[name], after[name]) for name in set(before) - fixed)
    assert np.array_equal(before["fc1_gamma"], after["fc1_gamma"])
    assert not np.array_equal(centers, module.head.bank.weight.asnumpy())


def decays(name, bias_decay):
    """Whether weight decay acts on a parameter: on all but the fixed gain, or not on biases and betas either."""
    return name != "fc1_gamma" and (bias_decay or not name.endswith(("_bias", "_beta")))


@pytest.mark.parametrize("bias_decay", [True, False])
def test_weight_decay_of_each_parameter(bias_decay):
    decay = weight_decay(lambda wd: face_module(bias_decay=bias_decay, wd=wd), batch(), 0.01)
    assert decay == {name: pytest.approx(0.01 * decays(name, bias_decay), rel=1e-2, abs=1e-6) for name in decay}
    assert {name.rpartition("_")[2] for name in decay} == {"weight", "bias", "gamma", "beta"}


@pytest.mark.parametrize("arguments, bias_decay", [({}, True), (dict(bias_decay=False), False)])
def test_updates_are_those_of_float64(arguments, bias_decay):
    """Momentum 0.9, and weight decay where it belongs: v <- 0.9 v - lr (g + wd w), w <- w + v."""
    module, lr, wd = face_module(wd=0.5, **arguments), 0.1, 0.5
    random = np.random.RandomState(0)
    for name, array in module.arg_params.items():
        if name.endswith(("_bias", "_beta")):  # they begin with 0, which would not decay
            array[:] = random.normal(size=array.shape)
    weights = {name: array.asnumpy().astype(np.float64) for name, array in module.arg_params.items()}
    momentum = {name: np.zeros_like(array) for name, array in weights.items()}
    for num_update in range(3):
        module.update(batch(num_update), num_update, lr, 0.1)
        for name in weights:
            gradient = module._gradients["grad/" + name].asnumpy()
            decay = wd * weights[name] if decays(name, bias_decay) else 0.0
            momentum[name] = 0.9 * momentum[name] - lr * (gradient + decay)
            weights[name] += momentum[name]
    for name, array in module.arg_params.items():
        assert relative_error(array.asnumpy(), weights[name]) < 1e-6, name


def test_batch_of_one_image_is_an_error_of_all_ranks():
    with pytest.raises(CollectiveError, match="batch_size 1: the batch normalization stage4_bn"):
        face_module(batch_size=1)


def test_learning_rates_belong_to_backbone_and_centers():
    for rates, moved in (((0.1, 0.0), (True, False)), ((0.0, 0.1), (False, True))):
        module = face_module()
        before, centers = parameters(module)["pre_fc1_weight"], module.head.bank.weight.asnumpy()
        module.update(batch(), 0, *rates)
        assert np.array_equal(parameters(module)["pre_fc1_weight"], before) != moved[0]
        assert np.array_equal(module.head.bank.weight.asnumpy(), centers) != moved[1]


def test_loss_falls_on_a_batch_seen_again():
    module = face_module()
    losses = [module.update(batch(), num_update, 0.005, 0.05) for num_update in range(25)]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11])
def test_embeddings_do_not_depend_on_the_batch(count):
    module = face_module()
    images = np.random.RandomState(1).randint(0, 256, (11, SIZE, SIZE, 3)).astype(np.uint8)
    one_by_one = np.concatenate([module.embed(images[i : i + 1]) for i in range(count)])
    embeddings = module.embed(images[:count])
    assert embeddings.shape == (count, EMBEDDING_SIZE) and embeddings.dtype == np.float32
    assert relative_error(embeddings, one_by_one) < 1e-5
    assert len(np.unique(embeddings[:, 0])) == count
    before = parameters(module)
    module.embed(images)
    assert all(np.array_equal(before[name], array) for name, array in parameters(module).items())


@pytest.mark.parametrize("world_size", [2, 3, 13])
def test_every_rank_embeds_its_share(world_size):
    images = np.random.RandomState(1).randint(0, 256, (11, SIZE, SIZE, 3)).astype(np.uint8)
    module = face_module()
    expected = module.embed(images)
    share = -(-11 // world_size)
    parts = []
    for rank in range(world_size):
        module.comm = OneOf(world_size, rank)
        parts.append(module.embed(images))
        assert len(parts[-1]) == share
    assert relative_error(np.concatenate(parts)[:11], expected) < 1e-5


def test_average_of_the_statistics():
    module = face_module(comm=Doubling())
    before = parameters(module)
    module.average_statistics()
    after = parameters(module)
    assert module.aux_params and set(module.comm.names) == {"statistics/" + name for name in module.aux_params}
    for name, array in before.items():
        expected = (array + 10) / 2 if name in module.aux_params else array
        np.testing.assert_allclose(after[name], expected, rtol=1e-6)
    assert "fc1_moving_mean" in module.aux_params


def test_statistics_are_those_after_the_update():
    """Not those before it, however long the backward pass takes."""
    module = face_module(size=256)
    for num_update in range(3):
        module.update(batch(num_update, 256), num_update, 0.1, 0.1)
        averages = module.averaged_statistics()
        mx.nd.waitall()
        for name, array in module.aux_params.items():
            assert np.array_equal(array.asnumpy(), averages[name].asnumpy()), name


def test_averaged_statistics_are_those_the_network_uses():
    module = face_module(comm=Doubling())
    module.comm = Communicator()
    before = module.embed(batch().images)
    module.comm = Doubling()
    module.average_statistics()
    module.comm = Communicator()
    assert relative_error(module.embed(batch().images), before) > 0.01


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_stops_and_names_the_update(value, monkeypatch):
    module = face_module()
    step = module.head.step

    def broken(embeddings, choice, lr, defer):
        loss, grad = step(embeddings, choice, lr, defer)
        return loss * 0 + value, grad

    monkeypatch.setattr(module.head, "step", broken)
    with pytest.raises(CollectiveError, match=rf"update 18: the loss is {value}"):
        module.update(batch(), 17, 0.1, 0.1)


def test_parameters_that_are_not_numbers_show_in_the_loss():
    module = face_module()
    module.arg_params["pre_fc1_weight"][:] = float("nan")
    with pytest.raises(CollectiveError, match="update 4: the loss is nan, the embeddings of rank 0 are not finite"):
        module.update(batch(), 3, 0.1, 0.1)


def test_centers_that_are_not_numbers_show_in_the_loss():
    module = face_module()
    module.head.bank.weight[2] = float("nan")
    with pytest.raises(CollectiveError, match="update 4: the loss is nan, all embeddings are finite"):
        module.update(batch(), 3, 0.1, 0.1)


def test_bfloat16_is_in_the_products_alone():
    """What is saved and exchanged stays float32 and plain; training and verification compute in bfloat16."""
    plain, low = face_module(), face_module(precision="bfloat16")
    assert low.symbol.tojson() == plain.symbol.tojson()
    arrays = {**low.arg_params, **low.aux_params, **low.momentum, **low._gradients}
    assert {np.dtype(array.dtype) for array in arrays.values()} == {np.dtype(np.float32)}
    assert list(low.arg_params) == list(plain.arg_params) and list(low.momentum) == list(plain.momentum)
    images = np.concatenate([batch(n).images for n in range(3)])
    error = relative_error(low.embed(images), plain.embed(images))
    assert 1e-4 < error < 0.05 and low.embed(images).dtype == np.float32
    losses = [module.update(batch(), 0, 0.001, 0.001) for module in (plain, low)]
    assert 1e-5 < relative_error(losses[1], losses[0]) < 0.03


def test_bfloat16_is_a_function_of_the_seed():
    first, again = (face_module("E", precision="bfloat16") for _ in range(2))
    losses = [[module.update(batch(n), n, 0.1, 0.1) for n in range(3)] for module in (first, again)]
    assert losses[0] == losses[1]
    assert all(np.array_equal(array, parameters(again)[name]) for name, array in parameters(first).items())


def unreadable(error):
    yield batch()
    raise error


@pytest.mark.parametrize(
    "error, message",
    [
        (InputError("train.rec: record 7 cannot be read"), "^train.rec: record 7 cannot be read"),
        (MemoryError(), "^MemoryError$"),
        (OSError(5, "Input/output error"), "OSError: .*Input/output error"),
        (RuntimeError("can't start new thread"), "^RuntimeError: can't start"),
    ],
)
def test_error_of_the_data_becomes_one_of_all_ranks(error, message):
    reports = []
    with pytest.raises(CollectiveError, match=message):
        face_module().fit(unreadable(error), lambda num_update: (0.1, 0.1), 5, [reports.append])
    assert [report.num_update for report in reports] == [1]


def test_wrong_label_becomes_an_error_of_all_ranks():
    wrong = batch()._replace(labels=np.array([0, 1, NUM_CLASSES, 2]), records=np.array([50, 51, 52, 53]))
    with pytest.raises(CollectiveError, match=rf"record 52 has label {NUM_CLASSES}"):
        face_module().fit(iter([wrong]), lambda num_update: (0.1, 0.1), 1, [])


def test_callbacks_are_called_in_order_after_every_update():
    events, scheduled = [], []

    def schedule(num_update):
        scheduled.append(num_update)
        return 0.05, 0.05

    def callback(name):
        return lambda report: events.append((name, report))

    module = face_module()
    batches = map(batch, itertools.count())
    module.fit(batches, schedule, 4, [callback("first"), callback("second")])
    assert scheduled == [0, 1, 2, 3]
    assert [(name, report.num_update) for name, report in events] == list(
        itertools.product(("first", "second"), [1])
    ) + [(name, number) for number in (2, 3, 4) for name in ("first", "second")]
    seconds = [report.seconds for _, report in events[::2]]
    assert all(first < second for first, second in zip([0] + seconds, seconds))
    assert np.array_equal(next(batches).images, batch(4).images)  # no batch was taken in vain


def test_fit_is_its_updates():
    module, losses = face_module("E"), []
    module.fit(
        map(batch, itertools.count()),
        lambda n: (0.1 / (n + 1), 0.2 / (n + 1)),
        3,
        [lambda report: losses.append(report.loss)],
    )
    other = face_module("E")
    assert losses == [other.update(batch(n), n, 0.1 / (n + 1), 0.2 / (n + 1)) for n in range(3)]


def test_time_of_the_callbacks_is_not_counted(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module_file, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    module = face_module()
    reports = []

    def update(*_):
        clock[0] += 2.0
        return 1.0

    def slow_batches():
        while True:
            clock[0] += 1.0  # the wait for data counts
            yield batch()

    def callback(report):
        clock[0] += 100.0
        reports.append(report)

    monkeypatch.setattr(module, "step", update)
    module.fit(slow_batches(), lambda num_update: (0.1, 0.1), 3, [callback])
    assert [report.seconds for report in reports] == [3.0, 6.0, 9.0]


def test_a_convolution_may_go_straight_into_the_fully_connected_layer():
    """Training and verification of a MobileFaceNet, in turns; batches of verification have any size."""
    module = face_module(symbol=mobilefacenet(EMBEDDING_SIZE), size=112)
    images = batch(size=112).images
    losses = [module.update(batch(size=112), num_update, 0.005, 0.05) for num_update in range(2)]
    whole = module.embed(np.concatenate([images, images[:2]]))
    np.testing.assert_allclose(whole[:2], whole[4:], rtol=1e-4, atol=1e-5)
    losses.append(module.update(batch(size=112), 2, 0.005, 0.05))
    assert np.isfinite(losses).all() and losses[2] < losses[0]
