import dataclasses
import json

import pytest

from partial_fc.errors import InputError
from partial_fc.planning.cards import CARDS, Card, find_card, measured_path


def stored(tmp_path, value):
    path = tmp_path / "card.json"
    path.write_text(json.dumps(value))
    return str(path)


def card_values(**changes):
    return {**dataclasses.asdict(CARDS["t4"]), **changes}


def test_every_card_has_a_source_and_more_than_nothing():
    assert set(CARDS) == {"2080ti", "v100-16", "v100-32", "a100-40", "a100-80", "3090", "t4", "cpu"}
    for name, card in CARDS.items():
        assert find_card(name, 8) is card and card.source
        assert min(*card.products.values(), card.bandwidth, *card.layers.values(), card.stream) > 0
        assert set(card.products) == set(card.convolutions)


def test_a_users_card_is_a_file(tmp_path):
    path = stored(tmp_path, card_values(name="mine", memory=1234))
    assert find_card(path, 8) == dataclasses.replace(
        Card(**json.loads(json.dumps(card_values()))), name="mine", memory=1234
    )


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(speed=3), "speed: a card has no such field"),
        (dict(bandwidth="fast"), "bandwidth: not of the form"),
        (dict(bandwidth=-1.5), "bandwidth: not of the form"),
        (dict(products={}), "products: not of the form"),
        (dict(links={"all_gather": [1]}), "links: not of the form"),
        (dict(links={"all_gather": [1e-6, 1e9]}), "links: not of the form"),
        (dict(convolutions={"float32": {"wide": 1e9}}), "convolutions: not of the form"),
        (dict(convolutions={"float16": {"28": 1e9}}), "convolutions: expected the precisions"),
        (dict(bandwidth=0), "bandwidth: must be above 0"),
    ],
)
def test_a_wrong_field_is_named(change, message, tmp_path):
    with pytest.raises(InputError, match=f"card.json: {message}"):
        find_card(stored(tmp_path, card_values(**change)), 8)


def test_a_missing_field_is_named(tmp_path):
    values = card_values()
    del values["stream"]
    with pytest.raises(InputError, match="card.json: the card lacks stream"):
        find_card(stored(tmp_path, values), 8)
    with pytest.raises(InputError, match="a card is an object"):
        find_card(stored(tmp_path, [3]), 8)


def test_this_machine_is_one_card_for_each_number_of_ranks(tmp_path, monkeypatch):
    path = stored(tmp_path, [card_values(ranks=1, memory=1), card_values(ranks=2, memory=2)])
    monkeypatch.setenv("PARTIAL_FC_MACHINE", path)
    assert measured_path() == path
    assert [find_card("here", ranks).memory for ranks in (1, 2)] == [1, 2]
    with pytest.raises(InputError, match=r"measured on 1, 2 ranks, not on 3 per host: .*--measure 3"):
        find_card("here", 3)


def test_what_is_not_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTIAL_FC_MACHINE", str(tmp_path / "none.json"))
    with pytest.raises(InputError, match="none.json: first run partial-fc plan --measure"):
        find_card("here", 1)
    with pytest.raises(InputError, match="--gpu h100: one of 2080ti, .*here, or the path"):
        find_card("h100", 1)


def test_narrow_layers_are_slower_in_low_precision_only():
    card = CARDS["v100-32"]
    assert card.convolution("float16", 28, 128) == 0.5 * card.convolutions["float16"]["28"]
    assert card.convolution("float32", 28, 128) == card.convolutions["float32"]["28"]


def test_the_nearest_width_counts():
    card = dataclasses.replace(CARDS["cpu"], convolutions={"float32": {"7": 1.0, "56": 2.0}})
    assert [card.convolution("float32", width, 64) for width in (1, 7, 19, 21, 112)] == [1, 1, 1, 2, 2]
