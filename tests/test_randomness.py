"""What a seed means must stay: the values here are those of the first version."""

import numpy as np

from partial_fc.randomness import generator, random_key


def test_keys_keep_their_values():
    assert random_key(0, "order", 0) == 91996104481365364402741799653005140054
    assert random_key(7, "rows", 3, 1) == 279823486053778505766929357854491916081
    assert random_key(2**40, "flip") == 277329922190010936633710990776616146573


def test_streams_keep_their_values():
    assert generator(0, "order", 0).permutation(10).tolist() == [5, 3, 6, 1, 0, 8, 9, 7, 2, 4]
    uniform = [0.79406197, 0.67338534, 0.43112262, 0.95917716]
    np.testing.assert_allclose(generator(3, "flip", 1).random(4), uniform, atol=1e-8)
    normal = generator(0, "centers", 0).standard_normal(4, np.float32)
    np.testing.assert_allclose(normal, [0.32103515, -0.94815874, 0.5536466, 0.47527802], rtol=1e-6)
    assert generator(0, "rows", 2, 1).integers(0, 1000, size=6).tolist() == [526, 214, 550, 44, 755, 837]
    assert generator(0, "pairs").choice(250, 2, replace=False).tolist() == [6, 80]


def test_every_argument_counts():
    arguments = [(0, "rows"), (1, "rows"), (0, "flip"), (0, "rows", 0), (0, "rows", 1), (0, "rows", 0, 0),
                 (0, "rows", 0, 1), (0, "rows", 1, 0), (0, "rows", 10), (-1, "rows"), (2**70, "rows")]
    keys = [random_key(*each) for each in arguments]
    assert len(set(keys)) == len(keys) and all(0 <= key < 2**128 for key in keys)
    firsts = {generator(*each).random() for each in arguments}
    assert len(firsts) == len(arguments)


def test_kind_of_integer_does_not_count():
    assert random_key(np.int64(5), "rows", np.int32(3)) == random_key(5, "rows", 3)


def test_what_was_drawn_before_does_not_count():
    expected = generator(5, "rows", 3).random(4)
    np.random.seed(1)
    generator(5, "rows", 2).random(100)
    generator(5, "rows", 3).random(100)
    assert np.array_equal(generator(5, "rows", 3).random(4), expected)


def test_neighbouring_keys_are_independent():
    draws = np.stack([generator(0, "rows", index).random(500) for index in range(40)])
    correlations = np.corrcoef(draws)[np.triu_indices(40, 1)]
    assert abs(correlations).max() < 0.25 and abs(correlations.mean()) < 0.01
