"""Close pairs, top k and clusters against brute force, in blocks and tiles of sizes that do not divide."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from partial_fc.checkpoint.center_files import save_centers, write_centers
from partial_fc.curation import close_pairs as module
from partial_fc.curation.close_pairs import close_pairs
from partial_fc.curation.clusters import clusters, joined_labels, places
from partial_fc.curation.nearest import Nearest, Pairs
from partial_fc.curation.vectors import CenterVectors
from partial_fc.errors import InputError
from partial_fc.head.host_bank import HostBank
from partial_fc.head.optimizer import CenterAdamW

from helpers.centers import banks

NUM_CLASSES, OTHERS, SIZE, THRESHOLD = 97, 41, 8, 0.5


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 37 classes and tiles of 6 x 10 vectors."""
    monkeypatch.setattr("partial_fc.checkpoint.center_files._BLOCK_BYTES", 37 * SIZE * 4)
    monkeypatch.setattr(module, "_TILE", (6, 10))


def centers_in(folder, num_classes=NUM_CLASSES, sub_centers=1, world_size=3, seed=0, make=None, states=("weight_mom",)):
    """Files of random centers of several ranks; returns the centers, (num_classes, K, D)."""
    folder.mkdir()
    centers = np.random.RandomState(seed).randn(num_classes, sub_centers * SIZE).astype(np.float32)
    kind = dict(num_classes=num_classes, embedding_size=sub_centers * SIZE, states=states)
    for bank in make(world_size, kind) if make else banks(world_size, **kind):
        own = centers[slice(*bank.partition)]
        bank.set(bank.partition.class_start, own, *(np.zeros_like(own) for _ in states))
        save_centers(str(folder), bank, world_size)
    return centers.reshape(num_classes, sub_centers, SIZE)


def cosines(first, second):
    """Largest cosine of any two centers of two classes, (n, m) float64."""
    first, second = (each.astype(np.float64) for each in (first, second))
    first, second = (each / np.linalg.norm(each, axis=2, keepdims=True) for each in (first, second))
    return np.einsum("ika,jla->ikjl", first, second).max(axis=(1, 3))


def brute_force(table, most, symmetric):
    """Cosine by pair: of each row and of each column the `most` largest that reach the threshold."""
    table = table.copy()
    if symmetric:
        np.fill_diagonal(table, -1)
    found = {}
    for flipped, each in ((False, table), (True, table.T)):
        for row, values in enumerate(each):
            for column in sorted(range(len(values)), key=lambda other: (-values[other], other))[:most]:
                if values[column] >= THRESHOLD:
                    pair = (column, row) if flipped else (row, column)
                    found[tuple(sorted(pair)) if symmetric else pair] = values[column]
    return found


def check(pairs, expected):
    found = list(zip(pairs.first.tolist(), pairs.second.tolist()))
    assert len(found) == len(set(found)) and set(found) == set(expected)
    np.testing.assert_allclose(pairs.cosine, [expected[pair] for pair in found], atol=1e-6)
    assert (np.diff(pairs.cosine) <= 0).all()


@pytest.mark.parametrize("most", [1, 3, NUM_CLASSES])
@pytest.mark.parametrize("sub_centers", [1, 3])
@pytest.mark.parametrize("world_size", [1, 3])
def test_pairs_of_one_set_equal_brute_force(world_size, sub_centers, most, tmp_path):
    centers = centers_in(tmp_path / "centers", sub_centers=sub_centers, world_size=world_size)
    expected = brute_force(cosines(centers, centers), most, symmetric=True)
    assert 20 < len(expected)
    vectors = CenterVectors(str(tmp_path / "centers"), sub_centers)
    for workers in (1, 3):
        check(close_pairs(vectors, THRESHOLD, most, workers=workers), expected)


@pytest.mark.parametrize("most", [1, 4])
def test_pairs_of_two_sets_equal_brute_force(most, tmp_path):
    first = centers_in(tmp_path / "a", sub_centers=2)
    second = centers_in(tmp_path / "b", OTHERS, seed=1)
    expected = brute_force(cosines(first, second), most, symmetric=False)
    found = close_pairs(CenterVectors(str(tmp_path / "a"), 2), THRESHOLD, most, CenterVectors(str(tmp_path / "b")))
    check(found, expected)
    with pytest.raises(InputError, match="vectors of 16 numbers and of 8"):
        close_pairs(CenterVectors(str(tmp_path / "a")), THRESHOLD, most, CenterVectors(str(tmp_path / "b")))


@pytest.mark.parametrize("states", [("weight_mom",), CenterAdamW.states])
def test_centers_of_a_bank_in_host_memory(states, tmp_path):
    def make(world_size, kind):
        ranks = [SimpleNamespace(rank=rank, world_size=world_size) for rank in range(world_size)]
        return [HostBank(kind["num_classes"], kind["embedding_size"], rank, states=states) for rank in ranks]

    centers = centers_in(tmp_path / "centers", make=make, states=states)
    found = close_pairs(CenterVectors(str(tmp_path / "centers")), THRESHOLD, 5)
    check(found, brute_force(cosines(centers, centers), 5, symmetric=True))


def test_equal_centers_are_kept_by_their_number(tmp_path):
    """All cosines are 1: of every class its first three others, whatever the order of blocks and threads."""
    (tmp_path / "centers").mkdir()
    weight = np.tile(np.eye(SIZE, dtype=np.float32)[3], (NUM_CLASSES, 1))
    path = str(tmp_path / "centers" / "centers-00000-of-00001.safetensors")
    write_centers(path, 0, NUM_CLASSES, NUM_CLASSES, SIZE, [(0, weight, weight)])
    expected = {(first, second) for second in range(NUM_CLASSES) for first in range(min(second, 3))}
    for workers in (1, 4):
        found = close_pairs(CenterVectors(str(tmp_path / "centers")), 0.999, 3, workers=workers)
        assert set(zip(found.first.tolist(), found.second.tolist())) == expected
        assert found.cosine.max() <= 1


def test_the_order_in_which_pairs_are_added_does_not_matter():
    """Not even for pairs that are equally close."""
    random = np.random.RandomState(0)
    first, second = np.triu_indices(30, 1)
    cosine = random.choice([0.5, 0.6, 0.7], len(first)).astype(np.float32)
    results = []
    for order in (np.arange(len(first)), np.arange(len(first))[::-1], random.permutation(len(first))):
        nearest = Nearest(30, 4)
        for part in np.array_split(order, 17):
            nearest.add(first[part], second[part], cosine[part])
        results.append([each.tolist() for each in nearest.pairs()])
    assert results[0] == results[1] == results[2]


def test_a_center_of_zeros_is_close_to_none_and_one_of_nan_is_refused(tmp_path):
    (tmp_path / "centers").mkdir()
    weight = np.ones((60, SIZE), np.float32)
    weight[7] = 0
    path = str(tmp_path / "centers" / "centers-00000-of-00001.safetensors")
    write_centers(path, 0, 60, 60, SIZE, [(0, weight, weight)])
    found = close_pairs(CenterVectors(str(tmp_path / "centers")), 0.01, 60)
    assert len(found.first) == 59 * 58 // 2 and not (found.first == 7).any() and not (found.second == 7).any()
    weight[41, 3] = np.nan
    write_centers(path, 0, 60, 60, SIZE, [(0, weight, weight)])
    with pytest.raises(InputError, match="the center of class 41 is not finite"):
        close_pairs(CenterVectors(str(tmp_path / "centers")), 0.5, 3)


def test_wrong_threshold_sub_centers_and_missing_files(tmp_path):
    centers_in(tmp_path / "centers")
    for threshold in (0, 1.5, -1):
        with pytest.raises(InputError, match="`threshold`"):
            close_pairs(CenterVectors(str(tmp_path / "centers")), threshold, 3)
    with pytest.raises(InputError, match="8 numbers per class are not those of 3 `sub_centers`"):
        CenterVectors(str(tmp_path / "centers"), 3)
    (tmp_path / "centers" / "centers-00001-of-00003.safetensors").unlink()
    with pytest.raises(InputError, match="in none of its 2 files"):
        close_pairs(CenterVectors(str(tmp_path / "centers")), 0.5, 3)


def test_sub_centers_are_those_of_the_checkpoint(tmp_path):
    centers_in(tmp_path / "centers", sub_centers=2)
    manifest = tmp_path / "centers" / "manifest.json"
    manifest.write_text('{"configuration": {"sub_centers": 2}}')
    assert CenterVectors(str(tmp_path / "centers")).num_each == 2
    manifest.write_text('{"configuration": {}}')
    assert CenterVectors(str(tmp_path / "centers")).num_each == 1
    for content in ("[]", '{"configuration": {"sub_centers": "2"}}', '{"configuration": {"sub_centers": 0}}', "{}"):
        manifest.write_text(content)
        with pytest.raises(InputError, match="manifest.json: does not say"):
            CenterVectors(str(tmp_path / "centers"))


def test_pairs_that_are_apart_are_not_found_and_take_no_place_of_others(tmp_path):
    """Listed in any order; the k closest of a class are others then."""
    first, second = centers_in(tmp_path / "a"), centers_in(tmp_path / "b", OTHERS, seed=1)
    vectors, others = (CenterVectors(str(tmp_path / name)) for name in "ab")
    table = cosines(first, first)
    listed = np.array([(row, int(table[row].argsort()[-2])) for row in range(0, NUM_CLASSES, 2)])
    table[tuple(listed.T)] = table[tuple(listed.T[::-1])] = -1
    check(close_pairs(vectors, THRESHOLD, 2, apart=listed), brute_force(table, 2, symmetric=True))
    table = cosines(first, second)
    listed = np.array([(row, int(table[row].argmax())) for row in range(NUM_CLASSES)])
    table[tuple(listed.T)] = -1
    check(close_pairs(vectors, THRESHOLD, 2, others, listed), brute_force(table, 2, symmetric=False))


def test_places_of_listed_labels():
    listed = np.array([[5, 2], [7, 8], [9, 2], [5, 3]])
    assert places(listed, np.array([1, 5, 9]), np.array([2, 4])).tolist() == [[1, 0], [2, 0]]
    assert places(listed, np.array([1]), np.array([], int)).shape == (0, 2)


def test_more_pairs_than_the_limit_are_an_error(tmp_path, monkeypatch):
    centers_in(tmp_path / "centers")
    vectors = CenterVectors(str(tmp_path / "centers"))
    count = len(close_pairs(vectors, THRESHOLD, NUM_CLASSES).first)
    monkeypatch.setattr("partial_fc.curation.nearest._MOST_NEIGHBORS", 2 * count)
    close_pairs(vectors, THRESHOLD, NUM_CLASSES)
    monkeypatch.setattr("partial_fc.curation.nearest._MOST_NEIGHBORS", 2 * count - 1)
    with pytest.raises(InputError, match=f"^{count:,} or more close pairs .* raise `threshold` or lower `most`"):
        close_pairs(vectors, THRESHOLD, NUM_CLASSES)


def test_memory_does_not_grow_with_the_pairs():
    """Three million pairs of 20,000 classes, of which 10 of each class are kept."""
    random, count = np.random.RandomState(0), 20_000
    tracemalloc.start()
    try:
        nearest = Nearest(count, 10)
        for _ in range(30):
            first, second = np.sort(random.randint(0, count, (100_000, 2)), axis=1).T
            nearest.add(first, second, random.uniform(0.5, 1, 100_000).astype(np.float32))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 8 * count * 10 <= kept < 8 * count * 10 + 8 * 2**20  # the last parts, which the test holds, are the rest
    assert len(nearest.pairs().first) > 100_000


def test_classes_without_neighbors_take_no_memory():
    """The nearest of a million classes take no memory before there are any."""
    before = resident("VmRSS")
    nearest = Nearest(1_000_000, 10)
    nearest.add(np.arange(100), np.arange(1000, 1100), np.full(100, 0.7, np.float32))
    assert resident("VmRSS") - before < 20
    assert len(nearest.pairs().first) == 100


def resident(name):
    """MiB of this process."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) / 1024


def test_clusters_are_connected_components():
    random = np.random.RandomState(0)
    for _ in range(50):
        count = random.randint(2, 40)
        first, second = np.sort(random.choice(200, (count, 2)), axis=1).T
        different = first < second
        first, second = first[different], second[different]
        groups = []
        for pair in zip(first.tolist(), second.tolist()):
            touched = [group for group in groups if group & set(pair)]
            groups = [group for group in groups if group not in touched] + [set(pair).union(*touched)]
        found, inside = clusters(Pairs(first, second, np.linspace(1, 0.5, len(first))))
        assert sorted(each.tolist() for each in found) == sorted(map(sorted, groups))
        order = [min(np.flatnonzero(np.isin(first, each))) for each in found]
        assert order == sorted(order)  # the cluster of the closest pair is the first
        assert inside.first.tolist() == first.tolist()
    assert clusters(Pairs(*np.empty((2, 0), np.int64), np.empty(0)))[0] == []


def test_people_known_to_be_different_are_in_no_cluster_together():
    """Against sets that are joined one pair after the other."""
    random, apart_once = np.random.RandomState(0), 0
    for _ in range(200):
        count = random.randint(2, 60)
        first, second = np.sort(random.choice(40, (count, 2)), axis=1).T
        different = first < second
        pairs = Pairs(first[different], second[different], np.linspace(1, 0.5, different.sum()))
        apart = random.choice(45, (random.randint(1, 6), 2)) * 1
        barred = [set(pair) for pair in apart.tolist() if pair[0] != pair[1]]
        groups = [{label} for label in set(pairs.first.tolist() + pairs.second.tolist())]
        for one, other, _ in pairs.rows():
            touched = [group for group in groups if group & {one, other}]
            joined = set().union(*touched)
            if any(pair <= joined for pair in barred):
                apart_once += 1
            else:
                groups = [group for group in groups if group not in touched] + [joined]
        found, inside = clusters(pairs, apart)
        assert sorted(map(sorted, (each.tolist() for each in found))) == sorted(sorted(g) for g in groups if len(g) > 1)
        expected = [any({one, other} <= group for group in groups) for one, other, _ in pairs.rows()]
        assert inside.cosine.tolist() == pairs.cosine[np.array(expected, bool)].tolist()
    assert apart_once > 50


def test_joined_labels():
    labels = np.array([0, 2, 3, 5, 8, 9])
    found = joined_labels([np.array([5, 0]), np.array([8, 9, 2])], labels)
    assert found.tolist() == [[0, 3], [1, 5], [1, 0], [2, 8], [2, 9], [2, 2]]
    assert joined_labels([], labels).tolist() == [[new, old] for new, old in enumerate(labels.tolist())]
    with pytest.raises(InputError, match="not all of them have images"):
        joined_labels([np.array([0, 1])], labels)
