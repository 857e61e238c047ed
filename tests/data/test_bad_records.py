import pytest

from partial_fc.data.bad_records import BadRecords
from partial_fc.errors import InputError


def test_error_is_raised():
    with pytest.raises(InputError, match="^this one$"):
        BadRecords("error", 1.0, 1000).add(1, InputError("this one"))


@pytest.mark.parametrize("images, read, allowed", [(1000, 0, 10), (1000, 5000, 50), (1000, 500, 10), (10, 0, 1)])
def test_share(images, read, allowed):
    bad = BadRecords("skip", 0.01, images)
    bad.count(read)
    for key in range(allowed):
        bad.add(key, InputError("bad"))
    with pytest.raises(InputError, match=f"^last; with it {allowed + 1} records were bad"):
        bad.add(allowed, InputError("last"))


def test_each_is_named_once_and_not_too_many(caplog):
    bad = BadRecords("skip", 1.0, 1000)
    for key in [1, 2, 1] + list(range(3, 100)):
        bad.add(key, InputError(f"record {key}"))
    assert [record.getMessage() for record in caplog.records] == [f"skipped: record {key}" for key in range(1, 21)]
    caplog.clear()
    bad.tell()
    assert [record.getMessage() for record in caplog.records] == ["skipped 99 bad records, 100 times"]
