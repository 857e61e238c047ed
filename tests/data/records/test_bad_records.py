import pytest

from partial_fc.data.records.bad_records import BadRecords
from partial_fc.errors import InputError


def errors(keys):
    return {key: InputError(f"record {key}") for key in keys}


def test_error_is_raised():
    with pytest.raises(InputError, match="^this one$"):
        BadRecords("error", 1.0, 1000).collect(1, InputError("this one"), {})


@pytest.mark.parametrize(
    "share, images, allowed",
    [
        (0.01, 1000, 10),
        (0.01, 1099, 10),
        (0.01, 10, 0),
        (0, 1000, 0),
        (0.001, 389, 0),
        (0.001, 1000, 1),
        (0.29, 100, 29),
        (1.0, 3, 3),
        (1e-05, 100000, 1),
    ],
)
def test_share(share, images, allowed):
    bad = BadRecords("skip", share, images)
    for _ in range(3):  # again and again
        bad.add(errors(range(allowed)))
    message = rf"^record 999; this makes {allowed + 1} of {images} records bad, .* bad_record_share={share:g}:"
    with pytest.raises(InputError, match=message):
        bad.add(errors([999]))


def test_too_many_at_once_are_not_waited_for():
    bad, met = BadRecords("skip", 0.1, 20), {}
    for key in (1, 2):
        bad.collect(key, InputError("bad"), met)
    with pytest.raises(InputError, match="this makes 3 of 20 records"):
        bad.collect(3, InputError("bad"), met)


def test_each_is_named_once_and_not_too_many(caplog):
    bad = BadRecords("skip", 1.0, 1000)
    for keys in ([1, 2], [1], range(3, 100)):
        bad.add(errors(keys))
    assert [record.getMessage() for record in caplog.records] == [f"skipped: record {key}" for key in range(1, 21)]
    caplog.clear()
    bad.log_count()
    assert [record.getMessage() for record in caplog.records] == ["skipped 99 bad records"]
