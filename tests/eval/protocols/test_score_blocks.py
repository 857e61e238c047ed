import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.eval.protocols.score_blocks import map_scores


@pytest.mark.parametrize("num_workers", [1, 3])
def test_blocks_of_many_sizes_in_order(num_workers):
    """A buffer that was larger, or smaller, is no trouble; nor is a function that changes the scores."""
    random = np.random.RandomState(0)
    sizes = [(4, 3), (50, 60), (1, 1), (7, 200), (4, 3)] * 4
    blocks = [
        (random.randn(m, 8).astype(np.float32), random.randn(n, 8).astype(np.float32), number)
        for number, (m, n) in enumerate(sizes)
    ]

    def take(scores, number):
        taken = scores.copy()
        scores[:] = np.nan
        return number, taken

    for number, (at, scores) in enumerate(map_scores(take, iter(blocks), num_workers)):
        left, right, _ = blocks[number]
        assert at == number and scores.dtype == np.float32
        np.testing.assert_allclose(scores, left @ right.T, rtol=1e-5, atol=1e-5)
    assert number == len(sizes) - 1


def test_an_error_ends_it():
    def blocks():
        yield np.ones((1, 2), np.float32), np.ones((1, 2), np.float32)
        raise InputError("row 7 is not finite")

    with pytest.raises(InputError, match="row 7"):
        list(map_scores(np.copy, blocks(), 2))
