import dataclasses

import mxnet as mx
import pytest

from partial_fc import config
from partial_fc.cli.plan import parser
from partial_fc.cli.plan_setting import setting_of
from partial_fc.errors import InputError
from partial_fc.planning import plan as planning
from partial_fc.planning.cards import CARDS
from partial_fc.planning.fit import fewest_ranks, fits, largest_batch, largest_classes, next_classes
from partial_fc.planning.memory import memory_plan
from partial_fc.planning.plan import advice, as_json, changed, make_plan
from partial_fc.planning.sweep import Row, crossings, steps, sweep

GIB = 2**30


def setting(*arguments):
    return setting_of(parser().parse_args(["--network", "demo", "--precision", "float16", *arguments]))


def on_this_host(*arguments, ranks=2):
    return setting("--gpu", "cpu", "--gpus", str(ranks), "--precision", "float32", *arguments)


def test_memory_is_that_of_the_trainer():
    asked = setting("--sample-ratio", "0.1", "--optimizer", "adamw")
    plan = make_plan(asked)
    trainer = memory_plan(asked.run, asked.symbol, 8, mx.gpu(0), "float16")
    context = CARDS["v100-32"].context * 2**20
    assert plan.memory == sum(trainer.values()) - trainer["libraries"] + context
    assert plan.host == {"libraries": trainer["libraries"]}
    assert plan.capacity == 32510 * 2**20 and plan.fits


def test_the_bank_on_the_host_is_not_on_the_card():
    asked = setting("--sample-ratio", "0.1", "--bank", "host")
    plan, here = make_plan(asked), make_plan(setting("--sample-ratio", "0.1"))
    assert set(plan.host) == {"libraries", "centers", "center_state"} and "rows" in plan.device
    moved = plan.host["centers"] + plan.host["center_state"]
    assert here.memory - plan.memory == moved - plan.device["rows"]
    assert "host bank" in plan.parts and as_json(asked, plan)["bank"] == "host"


def test_a_plan_is_of_updates_of_one_batch(tmp_path, monkeypatch):
    with open(config.PRESETS, encoding="utf-8") as file:
        presets = file.read().replace("max_update=0,", "max_update=0, accumulate=3,", 1)
    (tmp_path / "default.py").write_text(presets, encoding="utf-8")
    plain = make_plan(setting())
    monkeypatch.setattr(config, "PRESETS", str(tmp_path / "default.py"))
    assert config.preset("cosface", "100w", "demo")["accumulate"] == 3
    assert make_plan(setting()) == plain


def test_on_a_cpu_the_ranks_share_the_free_memory(monkeypatch):
    monkeypatch.setattr(planning, "available_memory", lambda: 8 * GIB)
    asked = on_this_host("--identities", "1M")
    plan = make_plan(asked)
    trainer = memory_plan(asked.run, asked.symbol, 2, mx.cpu(), "float32")
    assert plan.memory == sum(trainer.values()) and plan.capacity == 4 * GIB and not plan.host


def test_the_bound_is_the_largest_share():
    head, backbone = make_plan(setting("--identities", "20M")), make_plan(setting("--network", "r50"))
    assert (head.bound, backbone.bound) == ("the head", "the backbone")
    network = make_plan(setting("--network", "r50", "--gpus", "1024", "--network-gbit", "1"))
    assert network.bound == "the network"
    for plan in (head, backbone, network):
        assert sum(plan.shares().values()) == pytest.approx(1)
        assert plan.rate == pytest.approx(plan.images / sum(part.exposed for part in plan.parts.values()))


def test_advice_holds():
    asked = setting("--identities", "20M", "--network", "r18")
    plan = make_plan(asked)
    found = dict(advice(asked, plan))
    assert not plan.fits or found["--sample-ratio 0.1"].rate > 1.05 * plan.rate
    again = make_plan(setting("--identities", "20M", "--network", "r18", "--sample-ratio", "0.1"))
    assert found["--sample-ratio 0.1"].rate == again.rate and again.fits
    small = setting("--identities", "1k", "--network", "r50", "--batch-size", "256", "--sample-ratio", "0.1")
    assert not {"--sample-ratio 0.1", "--precision float16"} & set(dict(advice(small, make_plan(small))))


def test_a_run_that_does_not_fit_is_advised_what_does():
    asked = setting("--identities", "16M", "--gpu", "t4", "--sample-ratio", "0.1")
    plan = make_plan(asked._replace(card=dataclasses.replace(asked.card, memory=9000)))
    found = dict(advice(asked._replace(card=dataclasses.replace(asked.card, memory=9000)), plan))
    assert not plan.fits and "--bank host" in found and all(each.fits for each in found.values())


def test_the_largest_run_fits_and_the_next_does_not():
    asked = setting("--sample-ratio", "0.1", "--gpu", "t4")
    classes = largest_classes(asked)
    assert len(str(classes).rstrip("0")) <= 2 and fits(changed(asked, num_classes=classes))
    assert not fits(changed(asked, num_classes=next_classes(classes)))
    batch = largest_batch(asked)
    assert fits(changed(asked, batch_size=batch)) and not fits(changed(asked, batch_size=batch + 4))
    tight = setting("--identities", "10M", "--gpu", "t4", "--per-host", "8")
    ranks = fewest_ranks(tight)
    assert fits(changed(tight, ranks=ranks)) and not fits(changed(tight, ranks=ranks // 2))


def test_cards_do_not_hold_centers_that_the_trainer_keeps_on_the_host():
    """A shard of more numbers than an NDArray can hold moves to the host, which a plan for GPUs has no figures of."""
    asked = setting("--sample-ratio", "0.01", "--gpu", "2080ti", "--gpus", "4", "--identities", "100M")
    assert make_plan(asked).fits and not fits(asked) and fewest_ranks(asked) > 4
    assert fits(changed(asked, bank="host")) and not fits(changed(asked, num_classes=10**8, ranks=2))
    few, many = (largest_classes(changed(asked, ranks=ranks)) for ranks in (4, 8))
    assert few < many < 10**8 and not any(fits(changed(asked, num_classes=each)) for each in (2 * few, 16 * few))


def test_on_a_cpu_the_host_is_the_device():
    asked = on_this_host("--identities", "40M", "--sample-ratio", "0.01")._replace(free=400 * GIB)
    assert make_plan(asked).fits and fits(asked)


@pytest.mark.parametrize("number, following", [(10, 11), (990, 1000), (1_500_000, 1_600_000), (0, 100)])
def test_next_classes(number, following):
    assert next_classes(number) == following


def test_nothing_fits_on_a_card_that_is_too_small():
    asked = setting()
    tiny = asked._replace(card=dataclasses.replace(asked.card, memory=1))
    assert (largest_classes(tiny), largest_batch(tiny), fewest_ranks(tiny)) == (0, 0, None)


def test_steps():
    assert steps(8, 64, "gpus") == [8, 16, 32, 64]
    assert steps(6, 20, "gpus") == [6, 12, 20]
    assert steps(10**6, 10**7, "identities") == [10**6, 2 * 10**6, 5 * 10**6, 10**7]
    assert steps(0.05, 1, "sample_ratio") == [0.05, 0.1, 0.2, 0.5, 1]


def test_a_sweep_is_plans_of_its_values():
    asked = setting("--sample-ratio", "0.1")
    rows = sweep(asked, "gpus", [8, 16])
    assert [row.value for row in rows] == [8, 16]
    assert rows[1].sampled.rate == make_plan(setting("--sample-ratio", "0.1", "--gpus", "16")).rate
    assert rows[1].whole.rate == make_plan(setting("--gpus", "16")).rate
    assert rows[0].on_host.memory == make_plan(setting("--sample-ratio", "0.1", "--bank", "host")).memory


def test_arrays_that_are_too_large_leave_a_row_without_a_plan():
    (row,) = sweep(setting("--sample-ratio", "0.1"), "identities", [100 * 10**6])
    assert row.whole is None and row.sampled is not None
    assert any("MXNet cannot train from 100,000,000 identities on" in each for each in crossings([row], "identities"))


class FakePlan:
    def __init__(self, rate, fits=True, bound="the backbone"):
        self.rate, self.fits, self.bound = rate, fits, bound

    def shares(self):
        return {self.bound: 0.6}


def test_crossings_follow_from_the_rows():
    rows = [
        Row(1, FakePlan(100), FakePlan(95), FakePlan(90)),
        Row(2, FakePlan(90), FakePlan(60, fits=False), FakePlan(80)),
        Row(4, FakePlan(80, bound="the network"), FakePlan(40, fits=False), FakePlan(70)),
        Row(8, FakePlan(70, False, "the network"), FakePlan(20, fits=False), FakePlan(60)),
    ]
    found = list(crossings(rows, "identities"))
    assert found[0].endswith("at least a tenth faster: 2 identities (1.50 times as many images per second).")
    assert "With all classes, the run fits on the cards at 1 identities, and at no other value in the table." in found
    assert "With sampling, the run fits on the cards at 1 to 4 identities, and at no other value in the table." in found
    assert "With sampling, the network takes the most time from 4 identities on (60% at 4 identities)." in found
    assert "At 8 identities, only the bank on the host fits: 60 images per second." in found
    assert not any("only the bank" in each or "a tenth" in each for each in crossings(rows[:1], "identities"))
    (sentence,) = [each for each in crossings(rows, "sample_ratio") if each.startswith("At ")]
    assert sentence.startswith("At a sample ratio of 8, only the bank")


def test_more_than_mxnet_can_hold_is_an_error():
    with pytest.raises(InputError, match="more than an MXNet array can hold"):
        make_plan(setting("--identities", "100M"))
