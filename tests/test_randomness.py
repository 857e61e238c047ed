"""What a seed means must stay: the values here are those of the first version."""

import numpy as np

from partial_fc.randomness import generator, random_key, uniforms


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
    arguments = [
        (0, "rows"),
        (1, "rows"),
        (0, "flip"),
        (0, "rows", 0),
        (0, "rows", 1),
        (0, "rows", 0, 0),
        (0, "rows", 0, 1),
        (0, "rows", 1, 0),
        (0, "rows", 10),
        (-1, "rows"),
        (2**70, "rows"),
    ]
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


def test_uniforms_are_a_function_of_their_names_and_the_thing():
    numbers = uniforms(3, "purpose", 7, np.arange(1000), 5)
    assert numbers.shape == (1000, 5) and numbers.dtype == np.float64
    assert np.array_equal(uniforms(3, "purpose", 7, [999, 4], 5), numbers[[999, 4]])
    for other in ((4, "purpose", 7), (3, "other", 7), (3, "purpose", 8)):
        assert not np.isin(uniforms(*other, np.arange(1000), 5), numbers).any()


def test_uniforms_are_uniform_and_independent():
    numbers = uniforms(0, "purpose", 0, np.arange(100000), 4)
    assert 0 <= numbers.min() and numbers.max() < 1
    counts = np.stack([np.histogram(column, 20, (0, 1))[0] for column in numbers.T])
    assert (np.abs(counts - 5000) < 6 * np.sqrt(5000)).all()
    assert np.abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 0.02
    assert abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 0.02


def test_uniforms_are_those_of_splitmix64():
    """Known numbers of the generator started at 0."""
    assert random_numbers_of_splitmix(0, 3) == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    start = random_key(1, "purpose", 2) % 2**64
    expected = [number >> 11 for number in random_numbers_of_splitmix(start, 6)]
    assert (uniforms(1, "purpose", 2, [0, 1], 3).ravel() * 2**53).astype(int).tolist() == expected


def random_numbers_of_splitmix(state, count):
    numbers = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        bits = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
        numbers.append(bits ^ bits >> 31)
    return numbers
