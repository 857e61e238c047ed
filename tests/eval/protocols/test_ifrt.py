import itertools

import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.eval.protocols.ifrt import ALL, GROUPS, count_pairs, ifrt_result, image_groups
from partial_fc.eval.protocols.unit_features import UnitFeatures
from partial_fc.eval.roc import ScoreCounts, roc_of_counts

CORNERS = np.array([[3.0, 0], [0, 0.5], [-1, 0], [0, -2], [0, 0]], np.float32)  # cosines -1, 0, 1, exact


def random_paths(seed, num_images, groups=GROUPS, people=6):
    random = np.random.RandomState(seed)
    chosen = zip(random.choice(groups, num_images), random.randint(0, people, num_images))
    return [f"{group}/{person}/{number}.jpg" for number, (group, person) in enumerate(chosen)]


def slow_counts(features, paths):
    """{group: ([cosines of the same person], [of different ones])}, couple by couple."""
    found = {}
    for (row, path), (other_row, other_path) in itertools.combinations(enumerate(paths), 2):
        one, other = features[row].astype(float), features[other_row].astype(float)
        norms = np.sqrt((one**2).sum() * (other**2).sum())
        cosine = one @ other / norms if norms else 0.0
        (group, person), (other_group, other_person) = path.split("/")[:2], other_path.split("/")[:2]
        for name in {group, ALL} if group == other_group else {ALL}:
            kind = 0 if (group, person) == (other_group, other_person) else 1
            found.setdefault(name, ([], []))[kind].append(cosine)
    return found


def counts_of(features, paths, **arguments):
    return count_pairs(UnitFeatures(features, "features"), image_groups(paths, "list"), **arguments)


@pytest.mark.parametrize("block_rows", [3, 7, 64])
@pytest.mark.parametrize("groups", [GROUPS, ("Asian",), ("African", "elsewhere")])
def test_equals_counting_couple_by_couple(block_rows, groups):
    """Exact cosines, so that ties and zero rows are among them; a group more than IFRT has, and groups less."""
    paths = random_paths(0, 40, groups)
    features = CORNERS[np.random.RandomState(1).randint(0, 5, 40)]
    counts = counts_of(features, paths, block_rows=block_rows)
    assert list(counts) == [*GROUPS, *(set(groups) - set(GROUPS)), ALL]
    expected = slow_counts(features, paths)
    for name, both in counts.items():
        for kind, cosines in zip(both, expected.get(name, ([], []))):
            np.testing.assert_array_equal(kind.counts, ScoreCounts.of(np.array(cosines, np.float32)).counts)


def test_cosines_in_between_to_rounding():
    """Random features: as many pairs, and the distributions as near as float32 is to the edges of the bins."""
    paths = random_paths(2, 120)
    features = np.random.RandomState(3).randn(120, 16).astype(np.float32) * np.logspace(-20, 15, 120)[:, None]
    counts, expected = counts_of(features, paths, block_rows=13), slow_counts(features, paths)
    for name, both in counts.items():
        for kind, cosines in zip(both, expected[name]):
            assert kind.total == len(cosines)
            means = np.dot(kind.counts, kind.edges) / kind.total, np.mean(cosines)
            assert means[0] == pytest.approx(means[1], abs=2e-5)


def test_known_distribution():
    """Random directions in space have cosines that are uniform in (-1, 1), as Archimedes knew: FAR = (1 - t) / 2. Those
    of the genuine pairs are uniform in (0, 1): TAR = 1 - t = 2 FAR.
    """
    random = np.random.RandomState(0)
    first, other = random.randn(2, 1500, 3)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    other -= (other * first).sum(axis=1, keepdims=True) * first
    cosines = ((np.arange(1500) + 0.5) / 1500)[:, None]
    second = cosines * first + np.sqrt(1 - cosines**2) * other / np.linalg.norm(other, axis=1, keepdims=True)
    paths = [f"Asian/{person}/{image}" for image in range(2) for person in range(1500)]
    genuine, impostor = counts_of(np.concatenate([first, second]), paths)["Asian"]
    roc = roc_of_counts(genuine, impostor)
    for far in (0.3, 0.1, 0.03):
        point = roc.at_far(far)
        assert point.threshold == pytest.approx(1 - 2 * far, abs=0.01) and point.far == pytest.approx(far, abs=1e-4)
        assert point.tar == pytest.approx(1 - point.threshold, abs=1e-3)
    assert roc.auc() == pytest.approx(3 / 4, abs=0.01)


def test_result():
    """Known cosines: in each group the genuine pair has 0.5, impostors 0 but for one of 0.75 in ALL."""
    features = np.zeros((6, 4), np.float32)
    features[:2, 0], features[1, 1] = 1, 3**0.5
    features[2:4, 2], features[3, 3] = 1, 3**0.5
    features[4, 1], features[5] = 1, -1e-9
    paths = ["x/Asian/1/1", "x/Asian/1/2", "x/Indian/1/1", "x/Indian/1/2", "x/Indian/2/1", "x/African/1/1"]
    result = ifrt_result(counts_of(features, paths), "model")
    assert result[:3] == ("ifrt", "IFRT", "model")
    assert list(result.figures) == ["Indian", "Asian", "ALL", "Indian pairs", "Asian pairs", "ALL pairs"]
    assert result.figures["Indian pairs"] == {"same": 1, "different": 2}
    assert result.figures["ALL pairs"] == {"same": 2, "different": 13}
    assert result.figures["ALL"] == {"1e-6": None, "1e-5": None, "1e-4": None}
    assert result.histograms["ALL"].different.sum() == 13 and result.histograms["ALL"].same.sum() == 2
    far, tar = result.curves["ALL"]
    assert far[0] == 1 / 13 and tar[0] == 1  # the impostor at cos 30 degrees is the one that is accepted
    assert len(result.curves["Asian"].far) == 0


def test_published_numbers_of_pairs():
    """300 people of 4, 2 and 1 images: k (k - 1) / 2 pairs each, the rest of n (n - 1) / 2 of different people."""
    paths = [f"Asian/{person}/{image}" for person in range(300) for image in range((4, 2, 1)[person % 3])]
    counts = counts_of(np.random.RandomState(0).randn(len(paths), 4), paths, block_rows=100)
    assert counts["Asian"][0].total == counts[ALL][0].total == 100 * (6 + 1)
    assert counts["Asian"][1].total == 700 * 699 // 2 - 700


def test_a_single_image():
    with pytest.raises(InputError, match="model: a single image makes no pairs"):
        ifrt_result(counts_of(np.ones((1, 3)), ["Asian/1/1.jpg"]), "model")


@pytest.mark.parametrize("path", ["Asian/1.jpg", "1.jpg", "Asian//1.jpg", "", "ALL/1/1.jpg"])
def test_bad_paths_are_named(path):
    with pytest.raises(InputError, match="images.txt: image 2,"):
        image_groups(["Asian/1/1.jpg", path], "images.txt")
