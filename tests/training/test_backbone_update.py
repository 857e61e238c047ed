"""What an update does to the backbone's parameters, against NumPy, on one rank and on several."""

import itertools
import math

import mxnet as mx
import numpy as np
import pytest

from partial_fc.backbone.frozen import factors
from partial_fc.data.batches import Batch
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError, InputError
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterAdamW, CenterSGD, adamw_update
from partial_fc.head.partial_fc import PartialFC
from partial_fc.symbol import get_symbol
from partial_fc.training.backbone_update import UpdateRule, gradient_norm
from partial_fc.training.loss_scale import LossScale
from partial_fc.training.module import FaceModule

from helpers.models import network_without_statistics
from helpers.shards import Shards
from reference import adamw, relative_error

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
    symbol = network_without_statistics() if symbol is None else symbol
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


def network_of(kind):
    return get_symbol("demo", EMBEDDING_SIZE, "FC") if kind == "demo" else network_without_statistics()


def changed_names(rule, world_size=1, count=3, lr=0.1):
    """Names of parameters and statistics that some updates, and the average over the ranks, change; of momentum."""

    def work(comm):
        module = face_module(comm, rule, symbol=network_of("demo"))
        for array in module.aux_params.values():  # numbers of which an average over three ranks is not exact
            array[:] = mx.nd.arange(array.size) / 7 + 0.1
        everything = {**module.arg_params, **module.aux_params}
        before = arrays_of(everything)
        for num_update in range(count):
            module.update(batch(comm, num_update), num_update, lr, 0.1)
        module.average_statistics()
        after = arrays_of({**module.arg_params, **module.aux_params})
        exchanged = {name.rpartition("/")[2] for name in module._gradients}
        return (
            {name for name in before if not np.array_equal(before[name], after[name])},
            set(module.momentum),
            exchanged,
        )

    return Shards(world_size).run(work)[0]


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize(
    "rule, is_frozen",
    [
        (UpdateRule(), lambda name: False),
        (UpdateRule(freeze=("stage1.*",)), lambda name: name.startswith("stage1")),
        (UpdateRule(freeze=("stage1.*", ".*_bias")), lambda name: name.startswith("stage1") or name.endswith("_bias")),
        (UpdateRule(freeze=("stage2_bn_moving_.*",)), lambda name: name.startswith("stage2_bn_moving")),
        (UpdateRule(freeze_bn=True), lambda name: "bn" in name or name.startswith("fc1")),
    ],
)
def test_what_is_frozen_stays_to_the_bit_and_has_no_momentum(rule, is_frozen, world_size):
    symbol = network_of("demo")
    parameters, statistics = set(symbol.list_arguments()) - {"data"}, set(symbol.list_auxiliary_states())
    changed, momentum, exchanged = changed_names(rule, world_size)
    fixed_gain = {"fc1_gamma"}
    assert changed == {name for name in parameters | statistics if not is_frozen(name)} - fixed_gain
    assert momentum == exchanged == {name for name in parameters if not is_frozen(name)}


def test_a_frozen_batch_norm_normalizes_by_its_running_statistics():
    """The gradients are those of a network in which each is an affine function of its input."""

    def work(comm):
        embeddings, modules = (
            [],
            [face_module(comm, UpdateRule(freeze_bn=on), symbol=network_of("demo")) for on in (0, 1)],
        )
        for module in modules:
            for name, array in module.aux_params.items():
                array[:] = 2 if name.endswith("var") else 0.1
            module.module.forward(module._data(batch(comm, 0).images), is_train=True)
            trained = module.module.get_outputs()[0].asnumpy()
            embeddings.append((trained, module.embed(batch(comm, 0).images)))
        return [relative_error(trained, embedded) for trained, embedded in embeddings]

    ((batch_statistics, running),) = Shards(1).run(work)
    assert running < 1e-5 < 0.1 < batch_statistics


def test_frozen_batch_norm_makes_the_ranks_equal_to_one():
    """With fixed statistics no embedding depends on the other images of its rank."""
    rule = UpdateRule(freeze_bn=True, wd_mult=("stage1.*:3",), lr_mult=("pre_fc1.*:0.5",), clip_gradient_norm=2.0)
    one, three = (trained(rule, size, symbol=network_of("demo"), lr=0.01) for size in (1, 3))
    assert three[1] == pytest.approx(one[1], rel=1e-4)
    assert all(relative_error(three[0][name], one[0][name]) < 1e-4 for name in one[0] if np.any(one[0][name]))
    assert relative_error(three[2], one[2]) < 1e-4


def test_a_batch_of_one_image_needs_frozen_statistics():
    def build_with(rule):
        head = PartialFC(MemoryBank(5, EMBEDDING_SIZE, Communicator()), MarginSoftmax(), CenterSGD(), Communicator())
        return FaceModule(network_of("demo"), head, Communicator(), mx.cpu(), 1, SIZE, rule=rule)

    build_with(UpdateRule(freeze_bn=True))
    with pytest.raises(CollectiveError, match="batch_size 1"):
        build_with(UpdateRule(freeze=("stage1.*",)))


def test_factors_of_learning_rate_and_weight_decay():
    lr, wd = 0.05, 0.4
    rule = UpdateRule(wd=wd, lr_mult=("fc1.*:3", "relu.*:0"), wd_mult=("conv0.*:0", ".*fc1_bias:0.5"))
    lr_mult, wd_mult = {"fc1_weight": 3, "fc1_bias": 3, "relu0_gamma": 0}, {"conv0_weight": 0, "fc1_bias": 0.5}

    def work(comm):
        module = face_module(comm, rule)
        module.arg_params["fc1_bias"][:] = 1
        weights = arrays_of(module.arg_params)
        momentum = {name: np.zeros_like(array) for name, array in weights.items()}
        for num_update in range(3):
            module.update(batch(comm, num_update), num_update, lr, 0.1)
            for name, gradient in arrays_of(module._parameter_gradients).items():
                decay = wd * wd_mult.get(name, 1) * weights[name]
                momentum[name] = 0.9 * momentum[name] - lr * lr_mult.get(name, 1) * (gradient + decay)
                weights[name] += momentum[name]
        return [relative_error(array.asnumpy(), weights[name]) for name, array in module.arg_params.items()]

    assert max(Shards(1).run(work)[0]) < 1e-6


def test_the_last_pattern_that_fits_counts():
    assert factors(["a1", "a2", "b"], ["a.*:2", "a2:0.5e1"], "lr_mult") == {"a1": 2, "a2": 5}


@pytest.mark.parametrize(
    "rule, error",
    [
        (dict(freeze=("stage9.*",)), "freeze: no parameter of the network has a name like 'stage9"),
        (dict(freeze=("stage1",)), "freeze: no parameter .* 'stage1'.* a pattern must match a whole name"),
        (dict(freeze=("(",)), r"freeze: '\(' is not a regular expression: "),
        (dict(freeze=(".*",)), "freeze: nothing of the backbone is left to train"),
        (dict(freeze=("data",)), "freeze: no parameter"),
        (dict(lr_mult=("stage1.*",)), "lr_mult: expected PATTERN:FACTOR .* not 'stage1"),
        (dict(lr_mult=("stage1.*:-1",)), "lr_mult: expected PATTERN:FACTOR"),
        (dict(wd_mult=("stage1.*:1.2.3",)), "wd_mult: expected PATTERN:FACTOR"),
        (dict(wd_mult=("stage1.*:nan",)), "wd_mult: expected PATTERN:FACTOR"),
        (dict(wd_mult=(":1",)), "wd_mult: expected PATTERN:FACTOR"),
        (dict(wd_mult=("stage9.*:1",)), "wd_mult: no parameter"),
    ],
)
def test_rules_that_do_not_fit_the_network(rule, error):
    with pytest.raises(InputError, match=error):
        UpdateRule(**rule).frozen(network_of("demo"))


@pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
@pytest.mark.parametrize("world_size", [1, 3])
def test_frozen_centers_stay_and_the_backbone_learns(world_size, sample_ratio):
    def work(comm):
        modules = [face_module(comm, UpdateRule(), sample_ratio) for _ in range(2)]
        modules[0].head.optimizer = None
        before = [array.copy() for array in modules[0].head.bank.to_numpy()]
        losses = [
            [module.update(batch(comm, n), n, 0.1, lr) for n in range(3)] for module, lr in zip(modules, (0.1, 0.0))
        ]
        after = modules[0].head.bank.to_numpy()
        return losses[0] == losses[1], all(map(np.array_equal, before, after))

    # A learning rate of 0 leaves the centers, too, but not their momentum.
    assert Shards(world_size).run(work) == [(True, True)] * world_size


def test_frozen_centers_with_a_loss_scale():
    def work(comm):
        module = face_module(comm, UpdateRule(), loss_scale=LossScale(4.0))
        module.head.optimizer = None
        before = module.head.bank.weight.asnumpy()
        module.update(batch(comm, 0), 0, 0.1, 0.1)
        return np.array_equal(before, module.head.bank.weight.asnumpy()), module.loss_scale.skipped

    assert Shards(2).run(work) == [(True, 0)] * 2


@pytest.mark.parametrize("bias_decay", [True, False])
@pytest.mark.parametrize("loss_scale", [None, 2.0**12])
@pytest.mark.parametrize("limit", [0.0, 37.0])
def test_adamw_is_that_of_numpy(limit, loss_scale, bias_decay):
    wd, mults = 0.3, dict(lr_mult=("fc1.*:2",), wd_mult=("conv0.*:0.5",))

    def work(comm):
        rule = UpdateRule("adamw", wd=wd, bias_decay=bias_decay, clip_gradient_norm=limit, **mults)
        module = face_module(comm, rule, loss_scale=loss_scale and LossScale(loss_scale))
        module.arg_params["fc1_bias"][:] = 1
        weights = arrays_of(module.arg_params)
        moments = {name: [np.zeros_like(array)] * 2 for name, array in weights.items()}
        for num_update in range(6):
            lr = 0.01 / (1 + num_update)
            module.update(batch(comm, num_update), num_update, lr, 0.1)
            gradients = arrays_of(module._parameter_gradients)
            norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients.values())) / (loss_scale or 1)
            for name, gradient in gradients.items():
                gradient *= (min(1, limit / norm) if limit else 1) / (loss_scale or 1)
                decay = wd * (0.5 if name.startswith("conv0") else 1) * (bias_decay or not name.endswith("_bias"))
                rate = lr * (2 if name.startswith("fc1") else 1)
                weights[name], *moments[name] = adamw(
                    weights[name], *moments[name], gradient, rate, decay, num_update + 1
                )
        assert len(module.momentum) == 3 * len(weights)  # both moments, and when they began
        for name, array in module.arg_params.items():
            assert relative_error(array.asnumpy(), weights[name]) < 2e-6, name
            # 1 - 0.999 in float32, by which MXNet multiplies, is wrong by 1.3e-5.
            for kind, expected, bound in zip(("mean/", "var/"), moments[name], (2e-6, 2e-5)):
                assert relative_error(module.momentum[kind + name].asnumpy(), expected) < bound, kind + name
        return True

    assert Shards(1).run(work) == [True]


def test_weight_decay_of_adamw_is_as_small_as_it_should_be():
    """A factor 1 - lr wd would be rounded by float32, here by 5 %."""
    weight, zeros = mx.nd.array(np.linspace(1, 2, 100000)), [mx.nd.zeros(100000) for _ in range(3)]
    before = weight.asnumpy().astype(np.float64)
    adamw_update(weight, *zeros, lr=1e-3, wd=5e-4, num_update=5)
    assert (before - weight.asnumpy()).mean() == pytest.approx(5e-7 * before.mean(), rel=0.02)


def test_an_update_that_is_skipped_does_not_count_for_adamw():
    """Two runs, of which one has an overflow first: their next updates are the same to the bit."""

    def work(comm):
        states = []
        for skips in (False, True):
            bank = MemoryBank(NUM_CLASSES, EMBEDDING_SIZE, comm, states=CenterAdamW.states)
            head = PartialFC(bank, MarginSoftmax(32, m2=0.3), CenterAdamW(), comm)
            module = FaceModule(
                network_without_statistics(),
                head,
                comm,
                mx.cpu(),
                GLOBAL_BATCH_SIZE // comm.world_size,
                SIZE,
                rule=UpdateRule("adamw"),
                loss_scale=LossScale(4.0),
            )
            if skips:
                all_reduce = comm.all_reduce

                def overflowing(arrays, all_reduce=all_reduce, comm=comm):
                    comm.all_reduce = all_reduce
                    arrays["grad/fc1_weight"][1:2] = np.inf
                    all_reduce(arrays)

                comm.all_reduce = overflowing
                module.update(batch(comm, 7), 0, 0.01, 0.01)
            for number in range(2):
                module.update(batch(comm, number), number + skips, 0.01, 0.01)
            assert module.loss_scale.skipped == skips
            arrays = [*module.arg_params.values(), *module.momentum.values(), *map(mx.nd.array, bank.to_numpy())]
            states.append(b"".join(array.asnumpy().tobytes() for array in arrays))
        return states[0] == states[1]

    assert Shards(2).run(work) == [True, True]
