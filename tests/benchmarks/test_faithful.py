"""From the same start, with the same batches and settings, the published training and ours have the same losses."""

import pytest

from benchmarks.faithful import MARGINS, SETTING, loss_differences

from helpers.faces import write_faces


@pytest.mark.parametrize("loss", MARGINS)
def test_a_hundred_updates_on_two_ranks_differ_by_rounding_only(loss, tmp_path):
    small = dict(image_size=32, embedding_size=64, batch_size=32)
    case = dict(SETTING, **small, rec=write_faces(tmp_path, num_identities=100, images=10), margin=MARGINS[loss])
    found = loss_differences(case)
    assert SETTING["lr"] == 0.001 and SETTING["updates"] == 100
    assert found["last"] < 0.6 * found["first"]
    published, nudged = found["published"], found["nudged"]  # the latter: how far rounding alone leads
    assert published["early"] < 1e-5
    assert 0 < published["mean"] < 3 * nudged["mean"] and published["all"] < 5 * nudged["all"]
