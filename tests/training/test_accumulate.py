"""`accumulate`: micro-batches make the update of one batch, for backbone, centers, loss, clipping and loss scale."""

import csv
import json

import mxnet as mx
import numpy as np
import pytest

from partial_fc import train as train_file
from partial_fc.cli.train_arguments import read_command_line
from partial_fc.data.batches import Batch
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError
from partial_fc.head.adaface import AdaFace
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterAdamW, CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.symbol import get_symbol
from partial_fc.training.backbone_update import UpdateRule
from partial_fc.training.loss_scale import LossScale
from partial_fc.training.module import FaceModule

from helpers.faces import write_faces
from helpers.models import network_without_statistics
from helpers.shards import Shards
from reference import relative_error

NUM_CLASSES, EMBEDDING_SIZE, BATCH_SIZE, SIZE = 101, 16, 64, 16
FROZEN = dict(freeze_bn=True)


def batch(num_update, comm=None, size=BATCH_SIZE):
    """`size` images of each rank."""
    random = np.random.RandomState([num_update, comm.rank if comm else 0])
    images = random.randint(0, 256, (size, SIZE, SIZE, 3)).astype(np.uint8)
    return Batch(images, random.randint(0, NUM_CLASSES, size), np.arange(size))


def face_module(
    accumulate,
    comm=None,
    sample_ratio=1.0,
    symbol=None,
    rule=None,
    margin=None,
    optimizer=CenterSGD,
    sub_centers=1,
    size=BATCH_SIZE,
    loss_scale=None,
    **more,
):
    """A module whose update has `size` images per rank, in `accumulate` micro-batches."""
    comm = comm or Communicator()
    bank = MemoryBank(NUM_CLASSES, EMBEDDING_SIZE * sub_centers, comm, sample_ratio, states=optimizer.states)
    head = PartialFC(bank, margin or MarginSoftmax(32, m2=0.3), optimizer(), comm, sub_centers=sub_centers)
    symbol = network_without_statistics() if symbol is None else symbol
    more.update(rule=rule, accumulate=accumulate, loss_scale=loss_scale and LossScale(loss_scale))
    return FaceModule(symbol, head, comm, mx.cpu(), size // accumulate, SIZE, **more)


def arrays_of(module):
    mine = {**module.arg_params, **{"state/" + name: array for name, array in module.momentum.items()}}
    return {name: array.asnumpy() for name, array in mine.items()}


def trained(accumulate, world_size=1, updates=4, lr=0.05, **arguments):
    """Losses, norms, arrays of the backbone, and all centers and their state, after some updates."""

    def work(comm):
        module = face_module(accumulate, comm, **arguments)
        losses, norms = [], []
        for number in range(updates):
            losses.append(module.update(batch(number, comm), number, lr, 0.1))
            norms.append(module._optimizer.grad_norm or 0)
        return losses, norms, arrays_of(module), list(map(np.array, module.head.bank.to_numpy()))

    losses, norms, arrays, centers = zip(*Shards(world_size).run(work))
    assert all(each == losses[0] for each in losses) and all(each == norms[0] for each in norms)
    return losses[0], norms[0], arrays[0], [np.concatenate(each) for each in zip(*centers)]


def assert_same(one, many, bound):
    for mine, theirs in zip(many[:2], one[:2]):
        assert mine == pytest.approx(theirs, rel=bound)
    for name, array in one[2].items():
        assert relative_error(many[2][name], array) < bound, name
    for mine, theirs in zip(many[3], one[3]):
        assert relative_error(mine, theirs) < bound


@pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_four_batches_of_16_are_one_of_64(world_size, sample_ratio):
    one, four = (trained(count, world_size, sample_ratio=sample_ratio) for count in (1, 4))
    assert_same(one, four, 1e-5)
    assert one[0] != four[0] and len(set(four[0])) == 4


@pytest.mark.parametrize(
    "arguments, bound",
    [
        (dict(symbol=get_symbol("demo", EMBEDDING_SIZE, "FC"), rule=UpdateRule(**FROZEN), lr=0.01), 1e-4),
        (dict(rule=UpdateRule(clip_gradient_norm=20.0, freeze=("relu0_.*",))), 1e-5),
        (dict(rule=UpdateRule("adamw"), optimizer=CenterAdamW, lr=0.001), 1e-4),
        (dict(rule=UpdateRule("lars"), lr=5.0), 1e-4),
        (dict(loss_scale=2.0**12, rule=UpdateRule(clip_gradient_norm=20.0)), 1e-5),
        (dict(sub_centers=3, margin=MarginSoftmax(32, m2=0.3, warmup=3)), 1e-4),
    ],
)
def test_with_everything_else_that_an_update_does(arguments, bound):
    one, four = (trained(count, 2, sample_ratio=0.3, **arguments) for count in (1, 4))
    assert_same(one, four, bound)


def test_bfloat16_rounds_the_same_operands():
    one, four = (trained(count, 2, updates=1, precision="bfloat16") for count in (1, 4))
    assert_same(one, four, 0.01)


def test_statistics_of_adaface_are_those_of_the_whole_batch():
    margins = [AdaFace(32, t_alpha=0.3) for _ in range(2)]
    for accumulate, margin in zip((1, 4), margins):
        face_module(accumulate, margin=margin).update(batch(0), 0, 0.05, 0.1)
    first, second = (margin.state_dict() for margin in margins)
    assert second == pytest.approx(first, rel=1e-6) and first["mean"] != 20


def test_one_exchange_of_labels_and_of_gradients():
    calls = []

    class Counting(Communicator):
        def all_reduce(self, arrays):
            calls.append("gradients")

        def all_gather_host(self, array):
            calls.append("labels")
            return array

    module = face_module(4, Counting())
    module.update(batch(0), 0, 0.05, 0.1)
    calls.clear()
    module.update(batch(1), 1, 0.05, 0.1)
    assert calls == ["labels", "gradients"]


def test_gradients_of_an_update_do_not_remain_for_the_next():
    module = face_module(4)
    for _ in range(2):
        module.update(batch(0), 0, 0.0, 0.0)
        gradients = [array.asnumpy() for array in module._parameter_gradients.values()]
    other = face_module(1)
    other.update(batch(0), 0, 0.0, 0.0)
    for mine, theirs in zip(gradients, other._parameter_gradients.values()):
        assert relative_error(mine, theirs.asnumpy()) < 1e-5


def test_every_micro_batch_has_dropout_of_its_own_and_again_the_same():
    def losses(accumulate, seed=0):
        module = face_module(accumulate, symbol=get_symbol("demo", EMBEDDING_SIZE, "E"), seed=seed)
        one = batch(0, size=BATCH_SIZE // 2)
        twice = Batch(*(np.concatenate([each, each]) for each in one[:3]))
        parts, step = [], module.head.step
        module.head.step = lambda *some, **more: parts.append(step(*some, **more)) or parts[-1]
        module.update(twice, 5, 0.0, 0.0)
        return [loss.asscalar() for loss, _ in parts]

    first, second = losses(2)
    assert first != second and losses(2) == [first, second] and losses(2, seed=1) != [first, second]


def test_an_overflow_in_the_first_micro_batch_skips_the_update():
    module = face_module(4, loss_scale=2.0**16)
    module.update(batch(0), 0, 0.05, 0.1)
    before, centers = arrays_of(module), module.head.bank.weight.asnumpy()
    backward = module.module.backward

    def overflowing(grads):
        module.module.backward = backward
        backward([grads[0] * np.inf])

    module.module.backward = overflowing
    module.update(batch(1), 1, 0.05, 0.1)
    assert module.loss_scale.skipped == 1 and np.array_equal(centers, module.head.bank.weight.asnumpy())
    assert all(np.array_equal(array, before[name]) for name, array in arrays_of(module).items())
    module.update(batch(2), 2, 0.05, 0.1)
    assert module.loss_scale.skipped == 1 and not np.array_equal(centers, module.head.bank.weight.asnumpy())


@pytest.mark.parametrize("broken", range(4))
def test_a_loss_that_is_not_finite_names_embeddings_that_are_not(broken):
    module = face_module(4)
    forward, numbers = module.module.forward, iter(range(4))

    def poisoned(data, is_train):
        if next(numbers) == broken:
            data.data[0][1:2] = np.nan
        forward(data, is_train=is_train)

    module.module.forward = poisoned
    with pytest.raises(CollectiveError, match="update 4: the loss is nan, the embeddings of rank 0 are not finite"):
        module.update(batch(3), 3, 0.05, 0.1)


@pytest.mark.parametrize("precision, bound", [("float32", 1e-4), ("bfloat16", 0.02)])
@pytest.mark.parametrize("network", ["demo", "mobilefacenet", "r18"])
def test_gradients_of_networks_are_summed(network, precision, bound):
    """In any layout of the arrays, and of every parameter."""
    symbol, rule = get_symbol(network, EMBEDDING_SIZE, "FC"), UpdateRule(**FROZEN)
    arguments = dict(symbol=symbol, rule=rule, size=4, precision=precision)
    modules = [face_module(accumulate, **arguments) for accumulate in (1, 2)]
    half = batch(0, size=2)
    for _ in range(2):
        modules[1].update(Batch(*(np.concatenate([each, each]) for each in half[:3])), 0, 0.0, 0.0)
    modules[0].update(Batch(*(np.concatenate([each, each]) for each in half[:3])), 0, 0.0, 0.0)
    expected, sums = ([array.asnumpy() for array in module._parameter_gradients.values()] for module in modules)
    for name, mine, theirs in zip(modules[0]._parameter_gradients, sums, expected):
        assert relative_error(mine, theirs) < bound or np.abs(theirs).max() < 1e-9, name


def test_computing_activations_again_changes_no_bit():
    symbol, results = get_symbol("r18", EMBEDDING_SIZE, "E"), []
    for memonger in (False, True):
        module = face_module(2, symbol=symbol, size=8, memonger=memonger)
        losses = [module.update(batch(number, size=8), number, 0.01, 0.1) for number in range(2)]
        arrays = {**arrays_of(module), **{name: array.asnumpy() for name, array in module.aux_params.items()}}
        results.append((losses, {name: array.tobytes() for name, array in arrays.items()}))
        assert ("__force_mirroring__" in module.module.symbol.tojson()) == memonger
        assert module.symbol is symbol
    assert results[0] == results[1]


SMALL = "val_targets= image_size=32 embedding_size=8 frequent=2 num_workers=1 freeze_bn=true lr_steps=4"
ALL = "accumulate=2 batch_size=8 memonger=true optimizer=lars backbone_lr=2 sub_centers=2 clip_gradient_norm=5"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data"), num_identities=6, images=6)


def run(data, folder, *assignments, network="demo"):
    """Losses and summary of a run."""
    arguments = [f"--set={each}" for each in (*SMALL.split(), f"rec={data}", *assignments)]
    config, options = read_command_line(["--models-root", str(folder), "--network", network, *arguments])
    summary = train_file.train(config, Communicator(), options=options)
    with open(folder / "losses.csv") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)], summary


def test_a_run_is_that_of_the_larger_batch(data, tmp_path):
    """Data, epochs, schedule, losses and checkpoints."""
    epochs = "max_epochs=3", "warmup_updates=1e", "lr_steps=2e"
    (one, _), (two, summary) = (
        run(data, tmp_path / size, f"batch_size={size}", f"accumulate={count}", *epochs)
        for size, count in (("16", 1), ("8", 2))
    )
    assert len(two) == 6 == summary["updates"] and two == pytest.approx(one, rel=1e-4)
    with open(tmp_path / "8" / "checkpoints" / "update-000000006" / "manifest.json") as file:
        manifest = json.load(file)
    assert manifest["progress"]["done"] == dict(num_update=6, images=96, unit=16)
    log = (tmp_path / "8" / "train.log").read_text()
    assert "updates: 6 of 16 images each" in log and "36 images, 2 updates per epoch" in log


def results(folder, update):
    path = folder / "checkpoints" / f"update-{update:09d}"
    return {file.name: file.read_bytes() for file in path.iterdir() if file.suffix in (".params", ".safetensors")}


def test_a_run_that_continues_has_the_same_bits(data, tmp_path):
    def updates(folder, *assignments):
        return run(data, tmp_path / folder, *ALL.split(), *assignments, network="r18")[0]

    whole = updates("whole", "max_update=5")
    updates("cut", "max_update=2")
    assert updates("cut", "max_update=5", "resume=auto") == whole
    expected, found = (results(tmp_path / name, 5) for name in ("whole", "cut"))
    assert len(expected) >= 3 and found == expected


def test_a_run_that_continues_with_the_same_images_per_update(data, tmp_path, caplog):
    run(data, tmp_path, "batch_size=16", "max_update=2")
    run(data, tmp_path, "batch_size=8", "accumulate=2", "max_update=4", "resume=auto")
    assert "accumulate changed to 2 (was 1)" in caplog.text and "images per update" not in caplog.text
    run(data, tmp_path, "batch_size=8", "accumulate=1", "max_update=6", "resume=auto", "lr_unit=images")
    assert "images per update changed to 8 (was 16)" in caplog.text
