"""What a run saves, when, and that it goes on from there as if nothing had been."""

import contextlib
import os
import shutil
import signal
from types import SimpleNamespace
from typing import NamedTuple

import mxnet as mx
import numpy as np
import pytest
from numpy.linalg import norm

from partial_fc.checkpoint.checkpoints import Checkpoints, Damaged
from partial_fc.data.batches import Batch
from partial_fc.distributed.communicator import Communicator
from partial_fc.distributed.lock import LOCK, Lock
from partial_fc.distributed.signals import SAVE, STOP, Signals, Stopped
from partial_fc.errors import CollectiveError
from partial_fc.head.adaface import AdaFace
from partial_fc.head.host_bank import HostBank
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterAdamW, CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.symbol import get_symbol
from partial_fc.training import saving
from partial_fc.training.backbone_update import UpdateRule
from partial_fc.training.loss_scale import LossScale
from partial_fc.training.module import START, FaceModule, UpdateStats
from partial_fc.training.resume import Checkpoint, find_checkpoint, restore
from partial_fc.training.run_state import RunState, check_about, state_in
from partial_fc.training.saving import Ended, Saver

from helpers.locks import leave
from helpers.models import network_without_statistics
from helpers.shards import Shards

NUM_CLASSES, GLOBAL_BATCH_SIZE, SIZE, EMBEDDING_SIZE = 101, 12, 16, 16


def not_held(folder):
    """A Lock of a models root, as other ranks than the first have it."""
    return Lock(os.path.join(str(folder), LOCK))


def run(folder, **values):
    """A Run of a network of the tests' own, with the keys that matter here."""
    defaults = dict(
        num_classes=NUM_CLASSES,
        embedding_size=EMBEDDING_SIZE,
        sub_centers=1,
        network="test",
        net_output="FC",
        image_size=SIZE,
        batch_size=GLOBAL_BATCH_SIZE,
        sample_ratio=1.0,
        max_update=100,
        max_epochs=0,
        warmup_updates=0,
        lr_steps=(),
        lr_unit="updates",
        last_batch="drop",
        save_interval=1000,
        save_minutes=0.0,
        on_save_error="continue",
        published_files=False,
        optimizer="sgd",
        center_optimizer="sgd",
        resume="auto",
        models_root=str(folder),
    )
    config = _Config({**defaults, **values})
    return _Run(config, str(folder), config.num_classes)


class _Config(dict):
    __getattr__ = dict.__getitem__


class _Run(NamedTuple):
    config: _Config
    models_root: str
    num_classes: int
    num_images: int = 0

    def settings(self):
        return dict(self.config)


def checkpoints_in(folder, comm):
    return Checkpoints(os.path.join(folder, "checkpoints"), comm, 2)


def batches(comm, start=0):
    """This rank's part of global batches that are functions of the update; labels of all classes."""
    size = GLOBAL_BATCH_SIZE // comm.world_size
    own = slice(comm.rank * size, (comm.rank + 1) * size)
    for num_update in range(start, 1000):
        random = np.random.RandomState(num_update)
        images = random.randint(0, 256, (GLOBAL_BATCH_SIZE, SIZE, SIZE, 3)).astype(np.uint8)
        labels = random.randint(0, NUM_CLASSES, GLOBAL_BATCH_SIZE)
        yield Batch(images[own], labels[own], labels[own], GLOBAL_BATCH_SIZE * (num_update + 1))


def face_module(
    comm,
    network=None,
    sample_ratio=1.0,
    bank=MemoryBank,
    seed=0,
    rule=None,
    optimizer=CenterSGD,
    precision="float32",
    margin=None,
    sub_centers=1,
    loss_scale=None,
):
    centers = bank(NUM_CLASSES, EMBEDDING_SIZE * sub_centers, comm, sample_ratio, seed=seed, states=optimizer.states)
    margin = margin() if margin else MarginSoftmax(32, m2=0.3)
    head = PartialFC(centers, margin, optimizer(), comm, precision, sub_centers)
    network, batch_size = network() if network else network_without_statistics(), GLOBAL_BATCH_SIZE // comm.world_size
    more = dict(precision=precision, loss_scale=loss_scale and loss_scale())
    return FaceModule(network, head, comm, mx.cpu(), batch_size, SIZE, seed, rule, **more)


def schedule(num_update):
    return 0.05, 0.1


def state(module):
    """Everything that training changes, by name."""
    arrays = {**module.arg_params, **module.aux_params}
    arrays.update({"mom:" + name: array for name, array in module.momentum.items()})
    result = {name: array.asnumpy() for name, array in arrays.items()}
    result.update(module.head.margin.state_dict())
    bank = module.head.bank
    result.update((name, array.copy()) for name, array in zip(("weight", *bank.states), bank.to_numpy()))
    return result


def train(comm, folder, max_update, start_anew=False, overflows=(), **arguments):
    """Train from the newest checkpoint up to an update, and save there; returns losses, state and RunState.

    In the updates `overflows`, counted from 0, a gradient of the last rank is infinite.
    """
    this = run(folder, batch_size=GLOBAL_BATCH_SIZE // comm.world_size, max_update=max_update)
    checkpoints = checkpoints_in(folder, comm)
    found = None if start_anew else find_checkpoint(this, comm, checkpoints)
    module = face_module(comm, seed=0 if found is None else 5, **arguments)  # nothing may be left of initial values
    module.seed = module.head.bank.seed = 0
    progress = restore(found, module, this, comm) if found else RunState()
    reports = []
    saver = Saver(
        this,
        comm,
        module,
        checkpoints,
        Signals(),
        lambda: RunState(progress.first or reports[0], reports[-1], [(0, {"set": 0.5})], {"set": (0.5, 0)}),
        not_held(folder),
        max_update,
    )
    start = progress.last
    given = overflowing(batches(comm, start.num_update), module, start.num_update, overflows)
    module.fit(given, schedule, max_update, [reports.append, saver], start, saver.requests)
    return [report.loss for report in reports], state(module), progress


def overflowing(given, module, start, overflows):
    """The batches, which make a gradient of the last rank infinite in the updates `overflows`."""
    comm, all_reduce = module.comm, module.comm.all_reduce

    def infinite(arrays):
        if "grad/overflow" in arrays:  # not that of statistics
            arrays["grad/pre_fc1_weight"][1:2] = np.inf
            comm.all_reduce = all_reduce
        all_reduce(arrays)

    for num_update, batch in enumerate(given, start):
        if num_update in overflows and comm.rank == comm.world_size - 1:
            comm.all_reduce = infinite
        yield batch


def joined(results):
    """Centers and momentum of all classes, from the states of all ranks."""
    return [np.concatenate([state[name] for _, state, _ in results]) for name in ("weight", "weight_mom")]


def demo_network(net_output="FC"):
    """With batch statistics."""
    return get_symbol("demo", EMBEDDING_SIZE, net_output)


def dropout_network():
    return demo_network("E")


@pytest.mark.parametrize("cut", [1, 4])
@pytest.mark.parametrize(
    "world_size, sample_ratio, bank, network, precision",
    [
        (1, 1.0, MemoryBank, dropout_network, "float32"),
        (2, 0.3, MemoryBank, demo_network, "float32"),
        (3, 0.3, HostBank, demo_network, "float32"),
        (1, 1.0, MemoryBank, dropout_network, "bfloat16"),
        (2, 0.3, HostBank, demo_network, "bfloat16"),
    ],
)
def test_same_ranks_go_on_bit_for_bit(world_size, sample_ratio, bank, network, precision, cut, tmp_path):
    arguments = dict(network=network, sample_ratio=sample_ratio, bank=bank, precision=precision)
    shards = Shards(world_size)
    whole = shards.run(lambda comm: train(comm, str(tmp_path / "whole"), 7, **arguments))
    shards.run(lambda comm: train(comm, str(tmp_path / "cut"), cut, **arguments))
    rest = shards.run(lambda comm: train(comm, str(tmp_path / "cut"), 7, **arguments))
    for (losses, final, _), (last_losses, last_final, progress) in zip(whole, rest):
        assert last_losses == losses[cut:] and progress.last.num_update == cut
        assert set(final) == set(last_final)
        assert all(np.array_equal(final[name], last_final[name]) for name in final)


RULE = UpdateRule(
    "adamw", clip_gradient_norm=5.0, freeze=("stage1.*", "bn1.*"), lr_mult=("pre_fc1.*:2",), wd_mult=("stage2.*:3",)
)


def scale():
    """Doubled every second update, so that its count matters."""
    return LossScale(2.0**12, interval=2)


@pytest.mark.parametrize("cut", [2, 4, 6])
@pytest.mark.parametrize("sample_ratio, bank", [(1.0, MemoryBank), (0.3, MemoryBank), (0.3, HostBank)])
@pytest.mark.parametrize("rule, optimizer", [(UpdateRule(), CenterSGD), (RULE, CenterAdamW)])
def test_skipped_updates_go_on_bit_for_bit(rule, optimizer, sample_ratio, bank, cut, tmp_path):
    """Overflows before, at and after the checkpoint: the scale, its count and the updates that count go on."""
    arguments = dict(network=demo_network, sample_ratio=sample_ratio, bank=bank, rule=rule, optimizer=optimizer)
    arguments.update(loss_scale=scale, overflows={1, 2, 5})
    shards = Shards(2)
    whole = shards.run(lambda comm: train(comm, str(tmp_path / "whole"), 8, **arguments))
    shards.run(lambda comm: train(comm, str(tmp_path / "cut"), cut, **arguments))
    rest = shards.run(lambda comm: train(comm, str(tmp_path / "cut"), 8, **arguments))
    for (losses, final, _), (last_losses, last_final, progress) in zip(whole, rest):
        assert last_losses == losses[cut:] and progress.last.loss_scale["skipped"] == len({1, 2, 5} & set(range(cut)))
        assert set(final) == set(last_final) and all(np.array_equal(final[name], last_final[name]) for name in final)
    scales = [saved_scale(tmp_path / name) for name in ("whole", "cut")]
    assert scales == [dict(scale=2.0**11, skipped=3, since=0)] * 2


def saved_scale(folder):
    """The state of the loss scale in the newest checkpoint."""
    _, manifest = checkpoints_in(str(folder), Communicator()).newest(lambda manifest: [])
    return state_in(manifest).last.loss_scale


def adaface():
    return AdaFace(32, t_alpha=0.3, warmup=5)


@pytest.mark.parametrize("sub_centers, bank", [(1, MemoryBank), (3, HostBank)])
@pytest.mark.parametrize("world_size", [1, 3])
def test_statistics_of_a_margin_and_sub_centers_go_on_bit_for_bit(world_size, sub_centers, bank, tmp_path):
    shards, arguments = Shards(world_size), dict(margin=adaface, sub_centers=sub_centers, bank=bank, sample_ratio=0.3)
    whole = shards.run(lambda comm: train(comm, str(tmp_path / "whole"), 7, **arguments))
    shards.run(lambda comm: train(comm, str(tmp_path / "cut"), 3, **arguments))
    rest = shards.run(lambda comm: train(comm, str(tmp_path / "cut"), 7, **arguments))
    for (losses, final, _), (last_losses, last_final, _) in zip(whole, rest):
        assert last_losses == losses[3:] and {"mean", "std"} < set(final)
        assert all(np.array_equal(final[name], last_final[name]) for name in final)


def test_running_statistics_of_a_margin_do_not_depend_on_the_number_of_ranks(tmp_path):
    (_, alone, _), (_, first, _), *_ = (
        result
        for size in (1, 3)
        for result in Shards(size).run(lambda c: train(c, str(tmp_path / str(c.world_size)), 3, margin=adaface))
    )
    assert [first[name] for name in ("mean", "std")] == pytest.approx(
        [alone[name] for name in ("mean", "std")], rel=1e-5
    )
    Shards(2).run(lambda comm: train(comm, str(tmp_path / "3"), 4, margin=adaface))  # saved by three, read by two


@pytest.mark.parametrize("state", ["mean", [1.0, 2.0], dict(mean=1.0), dict(mean=1.0, std="wide")])
def test_a_manifest_with_other_statistics_is_damaged(state, tmp_path):
    about = dict(num_update=1, configuration=dict(batch_size=4), versions={}, margin=state)
    about["progress"] = RunState(UpdateStats(1, 1.0, 1.0), UpdateStats(1, 1.0, 1.0)).to_json()
    with pytest.raises(Damaged, match="update 1: its manifest is damaged: not the statistics of AdaFace"):
        check_about(about)
    check_about(dict(about, margin=dict(mean=1.0, std=0.5)))


def test_a_manifest_with_a_precision_of_another_type_is_damaged():
    about = dict(num_update=1, configuration=dict(batch_size=4), versions={}, precision=["float32"])
    about["progress"] = RunState(UpdateStats(1, 1.0, 1.0), UpdateStats(1, 1.0, 1.0)).to_json()
    with pytest.raises(Damaged, match=r"update 1: its manifest is damaged: \['float32'\] is not a precision"):
        check_about(about)
    check_about(dict(about, precision="float32"))


@pytest.mark.parametrize("world_size, bank", [(1, MemoryBank), (3, MemoryBank), (2, HostBank)])
def test_same_ranks_go_on_bit_for_bit_with_every_rule(world_size, bank, tmp_path):
    arguments = dict(network=demo_network, sample_ratio=0.3, rule=RULE, optimizer=CenterAdamW, bank=bank)
    shards = Shards(world_size)
    whole = shards.run(lambda comm: train(comm, str(tmp_path / "whole"), 5, **arguments))
    shards.run(lambda comm: train(comm, str(tmp_path / "cut"), 2, **arguments))
    rest = shards.run(lambda comm: train(comm, str(tmp_path / "cut"), 5, **arguments))
    for (losses, final, _), (last_losses, last_final, _) in zip(whole, rest):
        assert last_losses == losses[2:] and set(final) == set(last_final)
        assert final["weight_var"].any() and final["mom:var/pre_fc1_weight"].any()
        assert all(np.array_equal(final[name], last_final[name]) for name in final)


def test_what_is_frozen_may_change_when_a_run_continues(tmp_path):
    """Statistics that become frozen are the average over the ranks, on all of them; momentum begins with 0."""
    shards, folder = Shards(3), str(tmp_path)
    before = shards.run(lambda comm: train(comm, folder, 2, network=demo_network))
    rule = UpdateRule(freeze=RULE.freeze)
    frozen = shards.run(lambda comm: train(comm, folder, 4, network=demo_network, rule=rule))
    name = "stage1_bn_moving_mean"
    assert not np.array_equal(before[0][1][name], before[1][1][name])
    average = sum(state[name] for _, state, _ in before) / 3
    for _, state, _ in frozen:
        assert np.allclose(state[name], average, rtol=1e-5) and np.array_equal(state[name], frozen[0][1][name])
        assert "mom:stage1_conv_weight" not in state and "mom:stage2_conv_weight" in state
    thawed = shards.run(lambda comm: train(comm, folder, 5, network=demo_network))
    assert all(np.isfinite(losses).all() and "mom:stage1_conv_weight" in state for losses, state, _ in thawed)


def test_first_steps_of_adamw_are_not_longer_for_what_was_frozen(tmp_path):
    """The first step of AdamW is the learning rate in the direction of each number's gradient, whenever it is done."""
    shards, folder = Shards(2), str(tmp_path / "run")
    arguments = dict(network=demo_network, optimizer=CenterAdamW)
    frozen = UpdateRule("adamw", wd=0.0, freeze=RULE.freeze)
    before = shards.run(lambda comm: train(comm, folder, 40, rule=frozen, **arguments))[0][1]
    free = UpdateRule("adamw", wd=0.0)
    after = shards.run(lambda comm: train(comm, folder, 41, rule=free, **arguments))[0][1]
    name = "stage1_conv_weight"
    steps = np.abs(after[name] - before[name])
    assert np.median(steps) == pytest.approx(schedule(40)[0], rel=0.01)
    assert after["mom:begin/" + name] == 40 and after["mom:begin/pre_fc1_weight"] == 0
    shutil.copytree(folder, str(tmp_path / "copy"))
    whole = shards.run(lambda comm: train(comm, folder, 43, rule=free, **arguments))[0][1]
    shards.run(lambda comm: train(comm, str(tmp_path / "copy"), 42, rule=free, **arguments))
    parts = shards.run(lambda comm: train(comm, str(tmp_path / "copy"), 43, rule=free, **arguments))[0][1]
    assert all(np.array_equal(whole[each], parts[each]) for each in whole)


@pytest.mark.parametrize("key", ["optimizer", "center_optimizer"])
def test_another_optimizer_cannot_continue(key, saved):
    def look(comm):
        this = run(saved[1], **{key: "adamw"})
        with pytest.raises(CollectiveError, match=f"has {key} sgd, this run adamw: use the same, or start a new run"):
            find_checkpoint(this, comm, checkpoints_in(saved[1], comm))
        return True

    assert Shards(1).run(look) == [True]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of runs of 1 to 4 ranks that have saved, by their number, and what one rank does from there."""
    folders = {}
    for world_size in (1, 2, 3, 4):
        folders[world_size] = str(tmp_path_factory.mktemp("saved"))
        Shards(world_size).run(lambda comm, folder=folders[world_size]: train(comm, folder, 3))
    return folders


@pytest.mark.parametrize("readers", [1, 2, 3, 4])
@pytest.mark.parametrize("writers", [1, 2, 3, 4])
def test_other_ranks_go_on(writers, readers, saved, tmp_path):
    def look(comm):
        this = run(saved[writers], sample_ratio=0.2)
        found = find_checkpoint(this, comm, checkpoints_in(saved[writers], comm))
        module = face_module(comm, seed=9, sample_ratio=0.2)
        restore(found, module, this, comm)
        return None, state(module), None

    def go_on(comm):
        os.makedirs(tmp_path, exist_ok=True)
        this = run(saved[writers], batch_size=GLOBAL_BATCH_SIZE // comm.world_size)
        found = find_checkpoint(this, comm, checkpoints_in(saved[writers], comm))
        module = face_module(comm, seed=9)
        module.seed = 0
        start, losses = restore(found, module, this, comm).last, []
        module.fit(batches(comm, 3), schedule, 23, [lambda report: losses.append(report.loss)], start)
        return losses

    # Every class keeps center and momentum, to the bit.
    before = joined(Shards(writers).run(lambda comm: (None, state(_restored(comm, saved[writers])), None)))
    for array, expected in zip(joined(Shards(readers).run(look)), before):
        assert np.array_equal(array, expected)
    losses, expected = Shards(readers).run(go_on), Shards(writers).run(go_on)
    assert len(losses[0]) == 20 and np.allclose(losses[0], expected[0], rtol=2e-5, atol=0)


@pytest.mark.parametrize("by_path", [False, True])
def test_hosts_must_have_the_checkpoint_of_one_run(by_path, saved, tmp_path):
    Shards(2).run(lambda comm: train(comm, str(tmp_path / "own"), 3, sample_ratio=0.5))
    shutil.copytree(saved[2], tmp_path / "copy")

    def find(comm, other):
        folder = [saved[2], str(tmp_path / other)][comm.rank]
        resume = os.path.join(folder, "checkpoints", "update-000000003") if by_path else "auto"
        return find_checkpoint(run(folder, resume=resume), comm, checkpoints_in(folder, comm)).manifest

    first, second = Shards(2).run(lambda comm: find(comm, "copy"))
    assert first == second
    with pytest.raises(CollectiveError, match="checksum of the checkpoint update-000000003 is .* here, .* on rank 0"):
        Shards(2).run(lambda comm: find(comm, "own"))


def _restored(comm, folder):
    this = run(folder)
    module = face_module(comm, seed=9)
    restore(find_checkpoint(this, comm, checkpoints_in(folder, comm)), module, this, comm)
    return module


def test_other_ranks_start_from_the_average_of_the_statistics(tmp_path):
    network = demo_network
    states = [state for _, state, _ in Shards(2).run(lambda comm: train(comm, str(tmp_path), 3, network=network))]
    ((_, alone, _),) = Shards(1).run(lambda comm: train(comm, str(tmp_path), 3, network=network))
    name = "bn0_moving_mean" if "bn0_moving_mean" in alone else next(n for n in alone if n.endswith("moving_mean"))
    assert not np.array_equal(states[0][name], states[1][name])
    assert np.allclose(alone[name], (states[0][name] + states[1][name]) / 2, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "key, value",
    [
        ("num_classes", 100),
        ("embedding_size", 32),
        ("network", "r50"),
        ("net_output", "E"),
        ("image_size", 112),
        ("net_unit", 1),  # a key that the checkpoint lacks
        ("num_layers", 34),
        ("sub_centers", 3),
    ],
)
def test_checkpoint_of_another_network_is_refused(key, value, saved):
    def find(comm):
        checkpoints = checkpoints_in(saved[2], comm)
        return find_checkpoint(run(saved[2], **{key: value}), comm, checkpoints)

    with pytest.raises(CollectiveError, match=f"checkpoint of update 3 has {key} .*, this run {value}"):
        Shards(2).run(find)


@pytest.mark.parametrize(
    "key, old, new",
    [
        ("bias_decay", False, True),
        ("bn_mom", 0.9, 0.8),
        ("clip_gradient_norm", 0.0, 5.0),
        ("lr_schedule", "multistep", "poly"),
    ],
)
@pytest.mark.parametrize("changes", [True, False])
def test_another_value_than_before_there_was_a_choice_is_reported(key, old, new, changes, saved, caplog):
    def go_on(comm):
        this = run(saved[1], initializer="normal", **{key: new if changes else old})
        found = find_checkpoint(this, comm, checkpoints_in(saved[1], comm))
        assert key not in found.manifest["configuration"]
        restore(found, face_module(comm), this, comm)

    Shards(1).run(go_on)
    assert (f"{key} changed to {new} (was {old})" in caplog.text) == changes
    assert "initializer" not in caplog.text


@pytest.mark.parametrize(
    "known, configured, now, warned",
    [
        (True, "auto", "bfloat16", True),  # `auto` has chosen float32, and chooses another one on this machine
        (True, "auto", "float32", False),
        (False, "float32", "bfloat16", True),
        (False, "float32", "float32", False),
        (False, None, "bfloat16", True),  # before there was the key
        (False, "auto", "bfloat16", False),  # what it has chosen is not known
    ],
)
def test_another_precision_is_reported(known, configured, now, warned, saved, caplog):
    def go_on(comm):
        this = run(saved[1], precision="auto")
        path, manifest = find_checkpoint(this, comm, checkpoints_in(saved[1], comm))
        assert manifest["precision"] == "float32"
        settings = {**manifest["configuration"], **({"precision": configured} if configured else {})}
        manifest = {name: value for name, value in manifest.items() if known or name != "precision"}
        restore(Checkpoint(path, {**manifest, "configuration": settings}), face_module(comm, precision=now), this, comm)

    Shards(1).run(go_on)
    assert ("precision changed to bfloat16 (was float32)" in caplog.messages) == warned


def test_training_goes_on_in_another_precision(tmp_path, caplog):
    """From update 3 in bfloat16: close to the same updates in float32, with the same master parameters in float32."""
    exact, low = str(tmp_path / "exact"), str(tmp_path / "low")

    def both(comm):
        train(comm, exact, 3, network=demo_network)
        if comm.rank == 0:
            shutil.copytree(exact, low)
        comm.all_gather_object(None)
        expected = train(comm, exact, 7, network=demo_network)
        return expected, train(comm, low, 7, network=demo_network, precision="bfloat16")

    (expected, arrays, _), (losses, other, progress) = Shards(2).run(both)[0]
    assert "precision changed to bfloat16 (was float32)" in caplog.messages
    assert progress.last.num_update == 3 and len(losses) == len(expected) == 4
    apart = np.abs(np.subtract(losses, expected)) / expected
    assert 0 < apart.max() <= 0.01, f"losses {losses} and {expected}"
    assert {array.dtype for array in other.values()} == {np.dtype(np.float32)}
    assert 0 < norm(other["weight"] - arrays["weight"]) <= 0.01 * norm(arrays["weight"])
    back, _, _ = Shards(2).run(lambda comm: train(comm, low, 8, network=demo_network))[0]
    assert np.isfinite(back).all() and "precision changed to float32 (was bfloat16)" in caplog.messages


def test_fewer_updates_than_are_done_are_refused(saved):
    with pytest.raises(CollectiveError, match="is of update 3, max_update is 2"):
        Shards(1).run(lambda comm: train(comm, saved[1], 2))


def test_progress_comes_back(saved, caplog):
    _, _, progress = Shards(1).run(lambda comm: train(comm, saved[1], 3))[0]
    assert "nothing is left to train: max_update is 3; raise it to continue" in caplog.messages
    assert progress.last.num_update == 3 and progress.last.position == 3 * GLOBAL_BATCH_SIZE
    assert progress.first.num_update == 1 and progress.first.loss > 0
    assert progress.history == [(0, {"set": 0.5})] and progress.best == {"set": (0.5, 0)}


class Checkpointless:
    """Takes the place of Checkpoints; fails if `fail`."""

    def __init__(self, fail=False):
        self.saved, self.fail = [], fail

    def path(self, num_update):
        return f"there/{num_update}"

    def save(self, num_update, write, about):
        if self.fail:
            raise CollectiveError("rank 0: disk full", 75)
        self.saved.append(num_update)


def saver_of(tmp_path, checkpoints, signals=None, rank=0, lock=None, early=None, **values):
    values.setdefault("max_update", 10)
    head = SimpleNamespace(margin=MarginSoftmax())
    parts = dict(symbol=mx.sym.Variable("data"), arg_params={}, head=head, precision="float32")
    module = SimpleNamespace(averaged_statistics=dict, **parts)
    comm = Communicator()
    comm.rank = rank
    signals = signals or SimpleNamespace(take=lambda: 0)
    progress = RunState(START, START)
    lock = lock or not_held(tmp_path)
    this, max_update = run(tmp_path, **values), values["max_update"]
    return Saver(this, comm, module, checkpoints, signals, lambda: progress, lock, max_update, early)


def updates(saver, requests, count=10):
    for num_update in range(1, count + 1):
        saver(UpdateStats(num_update, 1.0, 1.0, requests=requests.get(num_update, 0)))


def test_saves_every_few_updates_when_asked_and_at_the_end(tmp_path):
    checkpoints = Checkpointless()
    updates(saver_of(tmp_path, checkpoints, save_interval=4), {5: SAVE})
    assert checkpoints.saved == [4, 5, 8, 10]


def test_ends_when_asked_after_saving(tmp_path):
    checkpoints = Checkpointless()
    with pytest.raises(Stopped, match="update 3: ended by a signal"):
        updates(saver_of(tmp_path, checkpoints), {3: SAVE | STOP})
    assert checkpoints.saved == [3]


@pytest.mark.parametrize("requests", [{}, {3: SAVE | STOP}])
def test_ends_early_after_saving(requests, tmp_path):
    early, checkpoints = SimpleNamespace(ends=False), Checkpointless()
    saver = saver_of(tmp_path, checkpoints, early=early)
    updates(saver, {}, 2)
    early.ends = True
    with pytest.raises(Ended):
        saver(UpdateStats(3, 1.0, 1.0, requests=requests.get(3, 0)))
    assert checkpoints.saved == [3]


def test_asked_to_end_with_the_last_update_is_an_end_like_any(tmp_path):
    checkpoints = Checkpointless()
    updates(saver_of(tmp_path, checkpoints), {10: SAVE | STOP})
    assert checkpoints.saved == [10]


def test_rank_0_looks_at_the_clock(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: now[0]))
    savers = [saver_of(tmp_path, Checkpointless(), rank=rank, save_minutes=2.0) for rank in (0, 1)]
    never = saver_of(tmp_path, Checkpointless())
    for now[0], due in ((60.0, 0), (121.0, SAVE)):
        assert [saver.requests() for saver in (*savers, never)] == [due, 0, 0]
    savers[0](UpdateStats(1, 1.0, 1.0, requests=SAVE))
    assert savers[0].requests() == 0


def test_signals_are_passed_on_once(tmp_path):
    with Signals() as signals:
        saver = saver_of(tmp_path, Checkpointless(), signals)
        for number, asked in ((signal.SIGUSR1, SAVE), (signal.SIGTERM, SAVE | STOP)):
            os.kill(os.getpid(), number)
            assert [saver.requests(), saver.requests()] == [asked, 0]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    "policy, requests, error",
    [
        ("continue", {}, "update 10: cannot be saved: rank 0: disk full"),  # at the end all would be lost
        ("continue", {4: SAVE | STOP}, "update 4: cannot be saved"),
        ("stop", {}, "update 4: cannot be saved"),
    ],
)
def test_what_cannot_be_saved(policy, requests, error, tmp_path, caplog):
    saver = saver_of(tmp_path, Checkpointless(fail=True), save_interval=4, on_save_error=policy)
    with pytest.raises(CollectiveError, match=error) as caught:
        updates(saver, requests)
    assert caught.value.status == 75
    goes_on = policy == "continue" and not requests
    assert ("could not write there/8: rank 0: disk full; training continues" in caplog.text) == goes_on


class Slow(Communicator):
    """Notes what happens, and whether the watch allows time for it."""

    def __init__(self):
        self.notes, self.allowed = [], 0

    @contextlib.contextmanager
    def busy(self, what, seconds):
        self.allowed = seconds
        yield
        self.allowed = 0

    def agree(self, problem, status=2):
        self.notes.append(("agree", self.allowed > 120))


def test_a_slow_disk_may_take_its_time_for_the_published_files(tmp_path, monkeypatch):
    saver, comm = saver_of(tmp_path, Checkpointless(), published_files=True), Slow()
    saver._comm = comm
    monkeypatch.setattr(saving, "save_model", lambda *_: comm.notes.append(("model", comm.allowed > 120)))
    monkeypatch.setattr(saving, "save_published_files", lambda *_: comm.notes.append(("files", comm.allowed > 120)))
    updates(saver, {1: SAVE}, 1)
    assert comm.notes[-4:] == [("model", True), ("agree", True), ("files", True), ("agree", True)]


def test_a_run_whose_models_root_another_has_taken_over_ends(tmp_path):
    with Lock(os.path.join(str(tmp_path), LOCK)) as lock:
        saver = saver_of(tmp_path, Checkpointless(), lock=lock, save_interval=2)
        updates(saver, {}, count=2)
        leave(lock.path)
        with pytest.raises(CollectiveError, match="another run has taken over: process .* on b, since") as caught:
            updates(saver, {})
        assert caught.value.status == 2


def test_a_lock_that_cannot_be_made_again_is_no_reason_to_end(tmp_path, monkeypatch):
    with Lock(os.path.join(str(tmp_path), LOCK)) as lock:
        checkpoints = Checkpointless()
        saver = saver_of(tmp_path, checkpoints, lock=lock, save_interval=2)
        monkeypatch.setattr(Lock, "keep", lambda _: (_ for _ in ()).throw(OSError("disk full")))
        updates(saver, {}, count=2)
        assert checkpoints.saved == [2]
