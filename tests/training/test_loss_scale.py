"""Loss scaling, with overflows that are injected, on one rank and on three."""

import itertools
import json
import logging

import mxnet as mx
import numpy as np
import pytest

from partial_fc.data.batches import Batch
from partial_fc.errors import CollectiveError
from partial_fc.head.host_bank import HostBank
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.symbol import get_symbol
from partial_fc.training.backbone_update import UpdateRule
from partial_fc.training.loss_scale import LossScale
from partial_fc.training.module import START, FaceModule, UpdateStats
from partial_fc.training.run_state import RunState

from helpers.shards import Shards

NUM_CLASSES, EMBEDDING_SIZE, BATCH_SIZE, SIZE = 11, 8, 4, 16


def batch(seed, rank=0):
    random = np.random.RandomState([seed, rank])
    images = random.randint(0, 256, (BATCH_SIZE, SIZE, SIZE, 3)).astype(np.uint8)
    return Batch(images, random.randint(0, NUM_CLASSES, BATCH_SIZE), np.arange(BATCH_SIZE))


def face_module(comm, loss_scale, sample_ratio=1.0, bank=MemoryBank, rule=None):
    centers = bank(NUM_CLASSES, EMBEDDING_SIZE, comm, sample_ratio)
    head = PartialFC(centers, MarginSoftmax(16, m3=0.2), CenterSGD(), comm)
    symbol = get_symbol("demo", EMBEDDING_SIZE, "FC")
    return FaceModule(symbol, head, comm, mx.cpu(), BATCH_SIZE, SIZE, rule=rule, loss_scale=loss_scale)


def state(module):
    """Parameters, momentum and centers, bit for bit."""
    arrays = [array.asnumpy() for array in (*module.arg_params.values(), *module.momentum.values())]
    return b"".join(array.tobytes() for array in (*arrays, *module.head.bank.to_numpy()))


def inject_backbone(module, value):
    """Make one gradient of this rank's backbone overflow in the next update."""
    all_reduce = module.comm.all_reduce

    def once(arrays):
        module.comm.all_reduce = all_reduce
        arrays["grad/pre_fc1_weight"][1:2] = value
        all_reduce(arrays)

    module.comm.all_reduce = once


def inject_centers(module, value):
    """Make the gradient of one of this rank's centers overflow in the next update, where the backbone's do not."""
    step = module.head.step

    def once(*arguments, **how):
        module.head.step = step
        results = step(*arguments, **how)
        module.head._pending.grad_unit[1:2] = value
        return results

    module.head.step = once


@pytest.mark.parametrize("sample_ratio, bank", [(1.0, MemoryBank), (0.3, MemoryBank), (1.0, HostBank), (0.3, HostBank)])
@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("inject", [inject_backbone, inject_centers])
def test_overflow_on_one_rank_skips_the_update_on_all(inject, value, world_size, sample_ratio, bank):
    def work(comm):
        module = face_module(comm, LossScale(), sample_ratio, bank)
        module.update(batch(0, comm.rank), 0, 0.1, 0.1)
        before = state(module)
        if comm.rank == world_size - 1:
            inject(module, value)
        module.update(batch(1, comm.rank), 1, 0.1, 0.1)
        skipped = state(module) == before
        halved = module.loss_scale.state_dict()
        module.update(batch(2, comm.rank), 2, 0.1, 0.1)
        return skipped, halved, state(module) != before, module.loss_scale.state_dict()

    results = Shards(world_size).run(work)
    assert (
        results
        == [(True, dict(scale=2.0**15, skipped=1, since=0), True, dict(scale=2.0**15, skipped=1, since=1))] * world_size
    )


@pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
def test_updates_that_are_skipped_leave_a_bank_on_the_host_as_one_on_the_device(sample_ratio):
    """Nothing reads the banks between the updates, so rows travel as in a run: ahead of updates, and behind them."""

    def work(comm):
        modules = [face_module(comm, LossScale(interval=2), sample_ratio, bank) for bank in (MemoryBank, HostBank)]
        reports = [fit(comm, 9, {1, 2, 5}, module=module)[1] for module in modules]
        losses = [[report.loss for report in each] for each in reports]
        return losses[0] == losses[1], state(modules[0]) == state(modules[1]), modules[1].loss_scale.skipped

    assert Shards(2).run(work) == [(True, True, 3)] * 2


@pytest.mark.parametrize("sample_ratio", [1.0, 0.3])
def test_scaling_changes_no_number_without_an_overflow(sample_ratio):
    def work(comm):
        modules = [face_module(comm, loss_scale, sample_ratio) for loss_scale in (None, LossScale(), LossScale(4.0, 2))]
        losses = [[module.update(batch(n, comm.rank), n, 0.1, 0.1) for n in range(5)] for module in modules]
        return (
            losses[0] == losses[1] == losses[2],
            len({state(module) for module in modules}),
            modules[2].loss_scale.scale,
        )

    assert Shards(2).run(work) == [(True, 1, 16.0)] * 2


def test_precision_decides_whether_there_is_a_scale():
    def scale_of(precision, given=None):
        def work(comm):
            head = PartialFC(MemoryBank(11, 8, comm), MarginSoftmax(), CenterSGD(), comm)
            symbol = get_symbol("demo", 8, "FC")
            return FaceModule(symbol, head, comm, mx.cpu(), 4, 16, precision=precision, loss_scale=given).loss_scale

        return Shards(1).run(work)[0]

    assert scale_of("float32") is None and scale_of("bfloat16") is None
    given = LossScale(2.0)
    assert scale_of("float32", given) is given


def fit(comm, max_update, overflows, start=START, module=None):
    """Run of updates, of which some overflow on the last rank; returns the module and all UpdateStats."""
    module = module or face_module(comm, LossScale(interval=2))
    reports = []

    def batches():
        for number in itertools.count(start.num_update):
            if number in overflows and comm.rank == comm.world_size - 1:
                inject_backbone(module, np.inf)
            yield batch(number, comm.rank)

    module.fit(batches(), lambda number: (0.1, 0.1), max_update, [reports.append], start)
    return module, reports


def test_resumed_run_continues_with_the_scale_and_its_count():
    overflows = {1, 2, 5}

    def work(comm):
        _, whole = fit(comm, 9, overflows)
        for end in range(1, 9):
            module, reports = fit(comm, end, overflows)
            saved = json.loads(json.dumps(RunState(reports[0], reports[-1]).to_json()))
            module.loss_scale = LossScale(interval=2)  # as a new process has it
            _, rest = fit(comm, 9, overflows, RunState.from_json(saved).last, module)
            scales = [report.loss_scale for report in reports + rest]
            assert scales == [report.loss_scale for report in whole]
            assert [report.loss for report in reports + rest] == [report.loss for report in whole]
        return [report.loss_scale["scale"] / 2**14 for report in whole], whole[-1].loss_scale["skipped"]

    assert Shards(2).run(work) == [([4, 2, 1, 1, 2, 1, 1, 2, 2], 3)] * 2


def test_run_states_of_versions_without_a_loss_scale_are_read():
    saved = json.loads(json.dumps(RunState(UpdateStats(1, 2.0, 3.0), UpdateStats(4, 5.0, 6.0)).to_json()))
    for name in ("first", "last"):
        assert saved[name].pop("loss_scale") is None
    assert RunState.from_json(saved).last.loss_scale is None


@pytest.mark.parametrize(
    "state",
    [
        {},
        [1, 2, 3],
        dict(scale=0, skipped=0, since=0),
        dict(scale=float("nan"), skipped=0, since=0),
        dict(scale=2.0**30, skipped=0, since=0),
        dict(scale="1", skipped=0, since=0),
        dict(scale=1.0, skipped=-1, since=0),
        dict(scale=1.0, skipped=0.5, since=0),
        dict(scale=1.0, skipped=0, since=True),
    ],
    ids=str,
)
def test_state_that_is_none(state):
    loss_scale = LossScale()
    with pytest.raises(ValueError, match="not the state of a loss scale"):
        loss_scale.load(state)
    assert loss_scale.state_dict() == LossScale().state_dict()
    saved = RunState(UpdateStats(1, 2.0, 3.0), UpdateStats(4, 5.0, 6.0)._replace(loss_scale=state)).to_json()
    with pytest.raises(ValueError):
        RunState.from_json(saved)


def test_scale_is_doubled_after_an_interval_up_to_a_limit():
    loss_scale = LossScale(2.0**22, interval=3)
    scales = [(loss_scale.next(True), loss_scale.scale / 2**22) for _ in range(10)]
    assert scales == [(n in (2, 5), 1 if n < 2 else 2 if n < 5 else 4) for n in range(10)]
    assert [(loss_scale.next(finite), loss_scale.scale / 2**22) for finite in (False, True, True, True)] == [
        (True, 2),
        (False, 2),
        (False, 2),
        (True, 4),
    ]


def test_log_has_every_change_of_the_scale(caplog):
    caplog.set_level(logging.INFO, "partial_fc")
    Shards(2).run(lambda comm: fit(comm, 4, {1}))
    assert [record.getMessage() for record in caplog.records] == [
        "loss scale 65536, 0 updates skipped so far",
        "update 2  skipped: gradients overflow in float16; loss scale halved to 32768, 1 update skipped so far",
        "update 4  loss scale doubled to 65536",
    ]


def test_log_has_the_scale_that_a_run_continues_with(caplog):
    caplog.set_level(logging.INFO, "partial_fc")
    start = START._replace(num_update=7, loss_scale=dict(scale=2.0**12, skipped=1, since=0))
    Shards(2).run(lambda comm: fit(comm, 7, (), start))
    assert [record.getMessage() for record in caplog.records] == ["loss scale 4096, 1 update skipped so far"]


def test_a_skipped_update_has_no_gradient_norm():
    def work(comm):
        module = face_module(comm, LossScale(), rule=UpdateRule(clip_gradient_norm=5.0))
        return [report.grad_norm is None for report in fit(comm, 4, {1}, module=module)[1]]

    assert Shards(2).run(work) == [[False, True, False, False]] * 2


def test_overflow_at_the_smallest_scale_stops_all_ranks():
    def work(comm):
        module = face_module(comm, LossScale(2.0))
        with pytest.raises(CollectiveError, match="update 2: gradients overflow at a loss scale of 1: try a smaller"):
            fit(comm, 9, {0, 1, 2}, module=module)
        return module.loss_scale.skipped

    assert Shards(2).run(work) == [2] * 2
