import copy

import pytest

from partial_fc.errors import InputError
from partial_fc.report.conflicts import Cluster, Member, conflicts_from, is_conflicts

from helpers.report import conflicts_of, evaluation


def test_clusters_are_read():
    found = conflicts_from(conflicts_of(), "c.json")
    assert (found.num_classes, found.num_pairs, found.threshold) == (1000, 1, 0.5)
    assert found.clusters == [Cluster(0.8123, [Member(3, "ann", 12), Member(7, "7", None)])]


def test_what_is_meant_to_be_conflicts():
    assert is_conflicts(conflicts_of()) and not is_conflicts(evaluation()) and not is_conflicts([])


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.pop("pairs"),
        lambda value: value.update(clusters=3),
        lambda value: value.update(clusters=[[]]),
        lambda value: value.update(classes="many"),
        lambda value: value["clusters"][0][0].update(cosine=None),
        lambda value: value["clusters"][0][0].update(images="x"),
        lambda value: value["clusters"][0][0].update(label=[]),
        lambda value: value["clusters"][0][0].update(label=float("inf")),
        lambda value: value["clusters"][0][0].update(label=-1),
        lambda value: value["clusters"][0][0].update(images=True),
        lambda value: value["clusters"][0][0].update(cosine=1e308),
        lambda value: value.update(threshold=2),
        lambda value: value.update(classes=10**13),
    ],
)
def test_damaged_conflicts_are_an_error(change):
    value = copy.deepcopy(conflicts_of())
    change(value)
    with pytest.raises(InputError, match="^c.json: not what `centers conflicts --json FILE` writes"):
        conflicts_from(value, "c.json")
