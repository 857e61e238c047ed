import time

import numpy as np
import pytest

from partial_fc.eval.protocols.verification import evaluate, pair_distances, pixel_embeddings, verify
from partial_fc.eval.roc import Roc

from reference import slow_evaluate


def random_set(seed, num_pairs, noise=0.8, size=8):
    random = np.random.RandomState(seed)
    issame = random.rand(num_pairs) < 0.5
    embeddings = random.randn(2 * num_pairs, size).astype(np.float32)
    embeddings[1::2][issame] = embeddings[0::2][issame] + noise * random.randn(issame.sum(), size)
    return embeddings * random.uniform(0.1, 30, (2 * num_pairs, 1)), issame


def pairs_at(squared_distances):
    """Unit vectors (2P, 2) whose pairs have these squared distances."""
    angles = 2 * np.arcsin(np.sqrt(squared_distances) / 2)
    embeddings = np.zeros((2 * len(angles), 2))
    embeddings[0::2, 0] = 1
    embeddings[1::2] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return embeddings


@pytest.mark.parametrize("num_pairs, num_folds", [(40, 10), (43, 10), (59, 10), (10, 10), (30, 3), (7, 2), (20, 1)])
def test_equals_the_slow_protocol(num_pairs, num_folds):
    for seed in range(2):
        embeddings, issame = random_set(seed, num_pairs)
        np.testing.assert_allclose(
            evaluate(embeddings, issame, num_folds)[:3],
            slow_evaluate(embeddings, issame, num_folds),
            rtol=1e-12,
            atol=1e-12,
        )


def test_equals_the_slow_protocol_with_ties():
    # Exact distances 0, 2 and 4: many pairs share one, and 0 and 2 are thresholds too.
    corners = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=np.float32)
    for seed in range(5):
        random = np.random.RandomState(seed)
        embeddings, issame = corners[random.randint(0, 4, 80)], random.rand(40) < 0.5
        expected = slow_evaluate(embeddings, issame, 10)
        np.testing.assert_allclose(evaluate(embeddings, issame)[:3], expected, atol=1e-12)


def test_a_distance_equal_to_the_threshold_is_another_person():
    # Two folds; on either, thresholds above 2 accept the same pair at distance 2; thresholds up to 2 do not.
    right_angle = np.array([[1.0, 0.0], [0.0, 1.0]])
    result = evaluate(np.concatenate([right_angle] * 2), [True, True], num_folds=2)
    assert result.accuracy == 1 and result.threshold == pytest.approx(2.01)


def test_folds_are_contiguous_and_the_longer_ones_first():
    # Pairs 0-2 and 3-4: each fold is separable at its own threshold only, and is tested with the other's.
    embeddings = pairs_at(np.array([0.105, 0.205, 0.205, 2.005, 3.005]))
    issame = [True, False, False, True, False]
    result = evaluate(embeddings, issame, num_folds=2)
    # The first fold gets threshold 2.01 (1 of 3 right), the second 0.11 (1 of 2 right).
    assert result.accuracy == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert result.accuracy_std == pytest.approx((1 / 2 - 1 / 3) / 2)
    assert result.threshold == pytest.approx((2.01 + 0.11) / 2)


def test_known_distributions():
    # Distances uniform over 0..2 and over 1..3, in each fold: any threshold in 1..2 is right about 3/4 of all pairs, a
    # pair of one person is nearer than one of two people 7 times of 8, and the nearest tenth of the latter ends at 1.2.
    count = 10000
    places = (np.arange(count) * 3819 % count + 0.5) / count
    distances = np.stack([2 * places, 1 + 2 * places[::-1]], axis=1).ravel()
    issame = np.arange(2 * count) % 2 == 0
    embeddings = pairs_at(distances)
    assert pair_distances(embeddings, np.arange(4 * count)) == pytest.approx(distances, abs=1e-12)
    assert evaluate(embeddings, issame).accuracy == pytest.approx(3 / 4, abs=0.005)
    roc = Roc.from_scores(-distances, issame)
    assert roc.auc() == pytest.approx(7 / 8, abs=1e-3)
    assert roc.at_far(0.1).tar == pytest.approx(1.2 / 2, abs=1e-3)


def test_pairs_may_share_images():
    embeddings, _ = random_set(3, 10)
    rows = np.array([0, 1, 0, 2, 5, 0, 7, 7])
    assert np.array_equal(pair_distances(embeddings, rows), pair_distances(embeddings[rows], np.arange(8)))
    assert pair_distances(embeddings, rows)[3] == 0


def test_a_set_of_one_kind_of_pairs():
    embeddings, _ = random_set(0, 20)
    different = evaluate(embeddings, np.zeros(20, dtype=bool))
    assert different == (1, 0, 0, None)
    same = np.ones(20, dtype=bool)
    assert evaluate(embeddings, same).accuracy == slow_evaluate(embeddings, same, 10)[0]


def test_the_scale_of_a_row_does_not_count_and_zeros_stay_zero():
    embeddings, issame = random_set(1, 30)
    scales = np.logspace(-15, 15, 60)[:, None]
    assert evaluate(embeddings * scales, issame) == pytest.approx(evaluate(embeddings, issame)[:3] + (None,))
    embeddings[[4, 10, 11]] = 0
    expected = slow_evaluate(embeddings, issame, 10)
    np.testing.assert_allclose(evaluate(embeddings, issame)[:3], expected, rtol=1e-12)


def test_a_set_larger_than_one_block_equals_the_slow_protocol():
    embeddings, issame = random_set(2, 700, size=2)
    expected = slow_evaluate(embeddings, issame, 2)
    np.testing.assert_allclose(evaluate(embeddings, issame, 2)[:3], expected, rtol=1e-12)


def test_six_thousand_pairs_take_well_under_a_second():
    embeddings, issame = random_set(0, 6000, size=128)
    start = time.perf_counter()
    evaluate(embeddings, issame)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_finite_are_refused(value):
    embeddings, issame = random_set(0, 700, size=2)
    embeddings[1203, 1] = value
    with pytest.raises(ValueError, match="image 1203 is not finite"):
        evaluate(embeddings, issame)


@pytest.mark.parametrize(
    "embeddings, issame, num_folds",
    [
        (np.ones((18, 2)), [True] * 9, 10),
        (np.ones((0, 2)), np.zeros(0, bool), 1),
        (np.ones((20, 2)), [True] * 10, 0),
        (np.ones((21, 2)), [True] * 10, 10),
        (np.ones((20, 2, 1)), [True] * 10, 10),
        (np.ones(20), [True] * 10, 10),
        (np.ones((20, 2)), np.ones((10, 1), bool), 10),
        (np.ones((20, 2)), ["True"] * 10, 10),
        (np.ones((20, 2)), np.full(10, 0.5), 10),
    ],
)
def test_shapes_that_do_not_fit_are_refused(embeddings, issame, num_folds):
    with pytest.raises(ValueError, match="expected|cannot be split"):
        evaluate(embeddings, issame, num_folds)


class Network:
    """A linear embedding which records its batches; mirror images differ under it."""

    def __init__(self, pixels):
        self.matrix = np.random.RandomState(3).randn(pixels, 6).astype(np.float32)
        self.batches = []

    def __call__(self, images):
        self.batches.append(images.shape)
        assert images.dtype == np.uint8 and images.flags.c_contiguous
        return pixel_embeddings(images) @ self.matrix


def random_images(num_pairs):
    random = np.random.RandomState(5)
    issame = np.arange(num_pairs) % 2 == 0
    images = random.randint(0, 256, (2 * num_pairs, 4, 5, 3)).astype(np.uint8)
    images[1::2][issame] = images[0::2][issame] // 2 + images[1::2][issame] // 2
    return images, issame


@pytest.mark.parametrize("batch_size", [2, 16, 128])
def test_verify_adds_mirror_images_and_measures_the_norm_before(batch_size):
    images, issame = random_images(45)
    network = Network(60)
    result = verify(network, images, issame, batch_size=batch_size)
    assert max(shape[0] for shape in network.batches) <= batch_size
    assert sum(shape[0] for shape in network.batches) == 2 * len(images)
    plain, mirrored = network(images), network(images[:, :, ::-1].copy())
    np.testing.assert_allclose(result[:3], slow_evaluate(plain + mirrored, issame, 10), rtol=1e-6)
    norms = np.linalg.norm(np.concatenate([plain, mirrored]), axis=1)
    assert result.xnorm == pytest.approx(norms.mean(), rel=1e-6)


def test_verify_refuses_odd_batches_wrong_shapes_and_what_is_not_finite():
    images, issame = random_images(10)
    with pytest.raises(ValueError, match="even"):
        verify(Network(60), images, issame, batch_size=3)
    with pytest.raises(ValueError, match=r"\(1, 6\) for 20 images"):
        verify(lambda batch: np.ones((1, 6)), images, issame)
    images[:, 0, 0, 0] = np.arange(20)
    with pytest.raises(ValueError, match="image 16 is not finite"):
        verify(lambda batch: np.where(batch[:, :1, 0, 0] == 16, np.nan, 1.0), images, issame, batch_size=4)
    with pytest.raises(ValueError, match="19 rows"):
        verify(Network(60), images[:19], issame)


def test_pixel_embeddings():
    images = np.array([0, 255, 127, 128, 1, 2], dtype=np.uint8).reshape(1, 1, 2, 3)
    embeddings = pixel_embeddings(images)
    assert embeddings.dtype == np.float32 and embeddings.shape == (1, 6)
    np.testing.assert_array_equal(embeddings[0, :4] * 128, [-127.5, 127.5, -0.5, 0.5])
    assert pixel_embeddings([images[0], images[0]]).shape == (2, 6)
