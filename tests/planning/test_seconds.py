"""Each formula by hand, on cards of round figures."""

import dataclasses

import pytest

from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run
from partial_fc.planning.cards import CARDS
from partial_fc.planning.collectives import Cluster
from partial_fc.planning.network import Network, Operator
from partial_fc.planning.seconds import HeadWork, backbone_seconds, expected_rows, our_head, total_seconds, update_parts

KINDS = ("all_gather", "reduce_scatter", "all_reduce")
CARD = dataclasses.replace(
    CARDS["v100-32"],
    products={"float32": 1e12, "float16": 4e12},
    convolutions={"float32": {"28": 1e12}, "float16": {"28": 4e12}},
    bandwidth=1e11,
    layers={"float32": 1e11, "float16": 1e11},
    stream=1e11,
    links=dict.fromkeys(KINDS, (1e-3, 1e9)),
    host_link=1e9,
    launch=0,
    narrow=0,
)
WORK = Network(
    10**6,
    [
        Operator("Convolution", 6e9, 1e6, 0, 28, 64, 1, 64, False),
        Operator("BatchNorm", 0, 4e8, 1e8, 28, 64, 1, 0, False),
    ],
)
HEAD = HeadWork(8, 10)
CLUSTER = Cluster(4, 8, 10)


def run_of(*arguments):
    config = from_command_line(["--dataset", "100w", "--network", "demo", *arguments])
    return Run(config, "", config.num_classes)


def parts_of(*arguments, cluster=CLUSTER, card=CARD, precision="float32", head=HEAD):
    return update_parts(run_of(*arguments), WORK, cluster, card, precision, head)


def test_a_ring():
    one_host = Cluster(4, 8, 10)
    assert one_host.seconds("all_gather", 4e9, CARD) == pytest.approx(3e-3 + 3)
    assert one_host.seconds("all_reduce", 4e9, CARD) == pytest.approx(2 * (3e-3 + 3))
    two_hosts = Cluster(4, 2, 4)  # 4 Gbit/s, of which 85 % are used: less than the link
    assert two_hosts.seconds("reduce_scatter", 4e9, CARD) == pytest.approx(3e-3 + 3 / (0.5 * 0.85))
    quick = dataclasses.replace(CARD, links=dict.fromkeys(KINDS, (1e-6, 1e9)))
    assert Cluster(4, 2, 1000).seconds("all_gather", 0, quick) == pytest.approx(2e-6 + 30e-6)
    assert Cluster(1, 8, 10).seconds("all_reduce", 1e9, CARD) == 0


def test_the_backbone_is_bound_by_products_or_by_memory():
    convolution, norm = 2 * 6e9 / 1e12, (2 * 4e8 + 1e8) / 1e11
    assert backbone_seconds(WORK, 2, CARD, "float32") == pytest.approx(convolution + norm)
    slow = dataclasses.replace(CARD, layers={"float32": 1e6}, stream=1e6)
    assert backbone_seconds(WORK, 2, slow, "float32") == pytest.approx(2 + 900)
    assert backbone_seconds(WORK, 2, dataclasses.replace(CARD, launch=1.0), "float32") == pytest.approx(6.021)


def test_parts_by_hand():
    parts = parts_of("--batch-size", "64")
    total, chosen, size = 256, 250_000, 512
    low = parts_of("--batch-size", "64", precision="float16", head=HeadWork(8, 10, cast_bytes=12))
    assert low["casts"].seconds == pytest.approx(12 * chosen * (total + size) / 1e11) and "casts" not in parts
    assert parts["products"].seconds == pytest.approx(3 * 2 * total * chosen * size / 1e12)
    assert parts["softmax"].seconds == pytest.approx(8 * total * chosen / 1e11)
    assert parts["centers"].seconds == pytest.approx(4 * 10 * chosen * size / 1e11)
    assert parts["optimizer"].seconds == pytest.approx(4 * 5 * 1e6 / 1e11)
    assert parts["backward"].seconds == pytest.approx(2 * parts["forward"].seconds)
    embeddings = 3e-3 + 4 * total * size * 0.75 / 1e9
    assert parts["gather embeddings"].seconds == parts["scatter gradient"].seconds == pytest.approx(embeddings)
    assert parts["gather log-sum-exp"].seconds == pytest.approx(3e-3 + 8 * total * 4 * 0.75 / 1e9)
    assert parts["sum gradients"].seconds == pytest.approx(2 * (3e-3 + 4e6 * 0.75 / 1e9))
    assert total_seconds(parts) == sum(part.exposed for part in parts.values())


def test_what_overlaps_adds_only_what_is_left():
    parts = parts_of("--batch-size", "64")
    beside = parts["centers"].seconds / 4
    assert parts["gather embeddings"].exposed == pytest.approx(max(0, parts["gather embeddings"].seconds - beside))
    assert parts["scatter gradient"].exposed == 0 and parts["scatter gradient"].beside
    assert (
        parts["sum gradients"].exposed == parts["sum gradients"].seconds
    )  # a single group: nothing is left to compute
    many = WORK._replace(parameters=10**8)
    found = update_parts(run_of(), many, CLUSTER, CARD, "float32", HEAD)["sum gradients"]
    assert found.exposed == pytest.approx(max(found.seconds - 2 / 3 * backbone_seconds(many, 64, CARD, "float32"), 0))
    alone = parts_of(card=dataclasses.replace(CARD, overlaps=False))
    assert all(part.exposed == part.seconds for part in alone.values())
    assert not {"gather embeddings", "sum gradients"} & set(parts_of(cluster=Cluster(1, 8, 10)))


def test_small_batches_are_bound_by_the_memory_of_the_centers():
    parts = parts_of("--batch-size", "1", cluster=Cluster(1, 8, 10), card=dataclasses.replace(CARD, bandwidth=1e9))
    assert parts["products"].seconds == pytest.approx(3 * 4 * 1_000_000 * (1 + 512) / 1e9)


def test_the_bank_on_the_host_adds_what_the_step_does_not_hide():
    sampled = "--sample-ratio", "0.1", "--bank", "host"
    found = parts_of(*sampled)["host bank"]
    assert found.seconds == pytest.approx(2 * 4 * 2 * 25_000 * 512 * (1 / 1e9 + 1 / 6e9), rel=1e-3)
    rest = total_seconds(parts_of("--sample-ratio", "0.1"))
    assert found.exposed == pytest.approx(max(0, found.seconds - rest))
    slow = parts_of(*sampled, card=dataclasses.replace(CARD, host_link=1e7))["host bank"]
    assert slow.exposed == pytest.approx(slow.seconds - rest)
    assert "host bank" not in parts_of(*sampled, card=dataclasses.replace(CARD, host_link=0))


@pytest.mark.parametrize(
    "classes, ratio, ranks, batch, expected",
    [
        (1000, 1.0, 4, 8, 250),
        (1000, 0.1, 4, 8, 25),
        (1000, 0.001, 4, 8, 8),  # 32 labels, a quarter of them here, hardly any twice
        (10, 0.1, 1, 1000, 10),
        (1, 1.0, 1, 8, 1),
    ],
)
def test_expected_rows(classes, ratio, ranks, batch, expected):
    run = run_of("--set", f"num_classes={classes}", "--sample-ratio", str(ratio), "--batch-size", str(batch))
    assert expected_rows(run, ranks) == expected


def test_our_head_moves_more_where_it_chooses_or_rounds():
    whole, sampled = (our_head(run_of("--sample-ratio", ratio), "float32") for ratio in ("1", "0.1"))
    assert (whole.row_passes, sampled.row_passes, whole.logit_bytes) == (21, 21, 12)
    assert (whole.chosen_passes, sampled.chosen_passes) == (0, 10)
    assert our_head(run_of(), "float16") == HeadWork(20, 21, cast_bytes=12)
    adamw = our_head(run_of("--sample-ratio", "0.1", "--set", "center_optimizer=adamw"), "float32")
    assert (adamw.row_passes, adamw.chosen_passes) == (5 + 11 + 9, 2 + 6 + 6)
    assert our_head(run_of("--set", "freeze_centers=true"), "float32").row_passes == 16
