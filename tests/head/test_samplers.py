import numpy as np
import pytest

from partial_fc.head.samplers import num_sample, sample_rows
from partial_fc.randomness import generator


@pytest.mark.parametrize(
    "num_local, num_positive, ratio, expected",
    [(100, 0, 0.07, 7), (30, 0, 0.1, 3), (31, 0, 0.1, 4), (30, 9, 0.1, 9), (7, 0, 1e-6, 1), (7, 2, 1, 7)],
)
def test_num_sample(num_local, num_positive, ratio, expected):
    assert num_sample(num_local, num_positive, ratio) == expected


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5, 0.51, 0.9, 0.999])
@pytest.mark.parametrize("num_positive", [0, 5, 300])
def test_rows_are_distinct_ascending_and_hold_every_positive(ratio, num_positive):
    random = np.random.RandomState(0)
    positives = random.choice(1001, num_positive, replace=False)
    rows = sample_rows(positives, 1001, ratio, generator(0, "rows", 0, 0))
    assert len(rows) == max(num_positive, int(np.ceil(ratio * 1001)))
    assert (np.diff(rows) > 0).all() and rows[0] >= 0 and rows[-1] < 1001
    assert set(positives) <= set(rows)


def test_positives_alone_need_no_draws():
    """Most of a shard may be positive, where draws would hardly ever hit what is left out."""
    positives = np.delete(np.arange(1001), 500)[::-1]
    assert sample_rows(positives, 1001, 0.1, None).tolist() == sorted(positives)


@pytest.mark.parametrize("ratio", [0.2, 0.8])
def test_negatives_are_uniform(ratio):
    # 20 rows, 2 of them positive: every other row is chosen with the same probability.
    draws = 4000
    counts = np.zeros(20)
    for step in range(draws):
        counts[sample_rows(np.array([3, 11]), 20, ratio, generator(1, "rows", step, 0))] += 1
    assert counts[3] == counts[11] == draws
    share = (20 * ratio - 2) / 18
    deviation = (np.delete(counts, [3, 11]) - draws * share) / np.sqrt(draws * share * (1 - share))
    assert np.abs(deviation).max() < 4


def test_pairs_of_negatives_are_uniform():
    draws, together = 6000, np.zeros((8, 8))
    for step in range(draws):
        rows = sample_rows(np.array([], int), 8, 0.375, generator(2, "rows", step, 0))
        together[np.ix_(rows, rows)] += 1
    pairs = together[np.triu_indices(8, 1)]  # 28 pairs, 3 of them in every draw
    share = 3 / 28
    assert np.abs(pairs - draws * share).max() < 4.5 * np.sqrt(draws * share * (1 - share))


def test_a_function_of_seed_update_and_rank():
    def rows(*key):
        return sample_rows(np.array([5]), 1000, 0.1, generator(*key)).tolist()

    assert rows(0, "rows", 3, 1) == rows(0, "rows", 3, 1)
    others = [rows(1, "rows", 3, 1), rows(0, "rows", 4, 1), rows(0, "rows", 3, 0), rows(0, "other", 3, 1)]
    assert rows(0, "rows", 3, 1) not in others
