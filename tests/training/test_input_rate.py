import itertools
import logging
import re
import time

import pytest

from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError, InputError
from partial_fc.training import input_rate
from partial_fc.training.input_rate import measure_input


class Reader:
    batch_size = 8
    closed = False

    def batches(self):
        try:
            for number in itertools.count():
                if number == self.fails_at:
                    raise InputError("record 3 is bad")
                time.sleep(0.01)
                yield number
        finally:
            self.closed = True

    def __init__(self, fails_at=None):
        self.fails_at = fails_at


def test_rate(caplog, monkeypatch):
    monkeypatch.setattr(input_rate, "_SECONDS_BETWEEN_LINES", 0.1)
    caplog.set_level(logging.INFO, logger="partial_fc")
    reader = Reader()
    rates = measure_input(reader, Communicator(), 0.3)
    assert len(rates) == 1 and 100 < rates[0] <= 800 and reader.closed
    reported = [record.getMessage() for record in caplog.records]
    assert len(reported) >= 2
    rate = f"{rates[0]:.0f}"
    assert reported[-1] == f"input alone, 0 of 0 s: {rate} images/s on all 1 ranks together, {rate} to {rate} per rank"


class TwoRanks(Communicator):
    """The other rank reads 50 images per second."""

    world_size = 2

    def all_gather_object(self, value):
        return [value, 50.0 if isinstance(value, float) else value]


def test_every_line_counts_the_images_of_all_ranks(caplog, monkeypatch):
    monkeypatch.setattr(input_rate, "_SECONDS_BETWEEN_LINES", 0.1)
    caplog.set_level(logging.INFO, logger="partial_fc")
    measure_input(Reader(), TwoRanks(), 0.3)
    reported = [record.getMessage() for record in caplog.records]
    assert len(reported) == 3
    for line in reported:
        total, least, most = map(int, re.search(r"(\d+) images/s on all 2 .*, (\d+) to (\d+) per rank$", line).groups())
        assert least == 50 and abs(total - least - most) <= 1


@pytest.mark.parametrize("fails_at", [0, 3])
def test_bad_record_is_reported_to_all(fails_at):
    with pytest.raises(CollectiveError, match="record 3 is bad"):
        measure_input(Reader(fails_at), Communicator(), 10)
