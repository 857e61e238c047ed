import itertools
import os

import numpy as np
import pytest

from partial_fc.data.tools.pairs import check_enough_pairs, draw_pairs, read_pairs
from partial_fc.errors import InputError

from helpers.cases import for_each


@pytest.fixture
def folder(tmp_path):
    for name, images in (("Ann_Lee", 3), ("Bo", 2), ("Cy D", 1)):
        os.makedirs(str(tmp_path / "faces" / name))
        for image in range(1, images + 1):
            (tmp_path / "faces" / name / f"{name}_{image:04d}.{'png' if image == 2 else 'jpg'}").touch()
    return str(tmp_path / "faces")


def write(tmp_path, content):
    (tmp_path / "pairs.txt").write_bytes(content.encode())
    return str(tmp_path / "pairs.txt")


PAIRS = "2\t1\nAnn_Lee\t1\t2\nAnn_Lee\t3\tBo\t2\nBo 1 2\n\nCy D\t1\tBo\t1\r\n"


def test_pairs_in_the_order_of_the_file(tmp_path, folder):
    pairs = read_pairs(write(tmp_path, PAIRS), folder)
    assert [(line, [os.path.relpath(image, folder) for image in images], same) for line, images, same in pairs] == [
        (2, ["Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee/Ann_Lee_0002.png"], True),
        (3, ["Ann_Lee/Ann_Lee_0003.jpg", "Bo/Bo_0002.png"], False),
        (4, ["Bo/Bo_0001.jpg", "Bo/Bo_0002.png"], True),
        (6, ["Cy D/Cy D_0001.jpg", "Bo/Bo_0001.jpg"], False),
    ]


def test_what_lies_beside_an_image_is_not_the_image(tmp_path, folder):
    """Sidecars, whose names come before and after the image's."""
    expected = read_pairs(write(tmp_path, PAIRS), folder)
    for ending in (".json", ".txt", ".npy", ".JSON", "", ".xmp", ".jpg~"):
        (tmp_path / "faces" / "Bo" / f"Bo_0001{ending}").touch()
    assert read_pairs(write(tmp_path, PAIRS), folder) == expected


@pytest.mark.parametrize("other", ["Bo_0001.png", "Bo_0001.JPG"])
def test_two_images_of_one_number_are_named(tmp_path, folder, other):
    (tmp_path / "faces" / "Bo" / other).touch()
    names = " and ".join(sorted([other, "Bo_0001.jpg"]))
    with pytest.raises(InputError, match=f"line 4: {names} in .*/Bo are both image 1 of Bo: remove one"):
        read_pairs(write(tmp_path, PAIRS), folder)


def test_first_line_without_the_number_of_folds(tmp_path, folder):
    assert len(read_pairs(write(tmp_path, PAIRS.replace("2\t1", "2", 1)), folder)) == 4


def test_pairs_without_the_first_line_and_of_any_total(tmp_path, folder):
    lines = PAIRS.split("\n", 1)[1]
    without = read_pairs(write(tmp_path, lines), folder)
    assert [pair[1:] for pair in without] == [pair[1:] for pair in read_pairs(write(tmp_path, PAIRS), folder)]
    assert len(read_pairs(write(tmp_path, lines.replace("Bo 1 2\n", "")), folder)) == 3
    assert len(read_pairs(write(tmp_path, "3\n" + lines.replace("Bo 1 2\n", "")), folder)) == 3


@for_each("separator", ["\t", " ", ",", ", ", "  \t"])
@for_each("same, different", ["10", ("1", "-1"), ("True", "False")])
@for_each("label_first", [False, True])
def test_pairs_by_path(tmp_path, folder, separator, same, different, label_first):
    """Paths from the folder; names of digits among them."""
    os.makedirs(os.path.join(folder, "0"), exist_ok=True)
    open(os.path.join(folder, "0", "1.jpg"), "w").close()
    one, two, digits = "Bo/Bo_0001.jpg", "Ann_Lee\\Ann_Lee_0002.png", "0/1.jpg"
    listed = [(one, two, different), (one, os.path.join(".", one), same), (digits, one, different)]
    lines = [separator.join([fields[-1], *fields[:-1]] if label_first else fields) for fields in listed]
    found = read_pairs(write(tmp_path, "\n".join(lines)), folder)
    assert [(line, [os.path.relpath(image, folder) for image in images], same) for line, images, same in found] == [
        (1, [one, two.replace("\\", "/")], False),
        (2, [one, one], True),
        (3, [digits, one], False),
    ]
    assert read_pairs(write(tmp_path, "\n".join(["3", *lines])), folder)[0][0] == 2


@pytest.mark.parametrize(
    "line",
    [
        "Bo/Bo_0001.jpg\tBo/Bo_0002.png",
        "Bo/Bo_0001.jpg Bo/Bo_0002.png 2",
        "Bo/Bo_0001.jpg Bo/Bo_0002.png １",
        "Bo/Bo_0001.jpg Bo/Bo_0009.png 1",
        "Bo Bo 1",
    ],
)
def test_wrong_paths_and_labels_are_named(tmp_path, folder, line):
    with pytest.raises(InputError, match=r"pairs\.txt, line 2: (expected .*`PATH1 PATH2 LABEL`, found|no image .*Bo)"):
        read_pairs(write(tmp_path, f"Bo 1 2\n{line}\n"), folder)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("Bo 1 2", "Bo 1 3", "line 4: no image .*Bo_0003"),
        ("Bo 1 2", "Bob 1 2", "line 4: no folder .*Bob"),
        ("Bo 1 2", "Bo 1 two", "line 4: expected `NAME i j`.* found 'Bo 1 two'"),
        ("Bo 1 2", "Bo 1", "line 4: expected .* found 'Bo 1'"),
        ("Bo 1 2", "Bo 1_0 2", "line 4: expected"),
        ("Bo 1 2", "Bo ² 2", "line 4: expected"),
        ("2\t1\n", "0\t1\n", "line 1: expected"),
        ("2\t1\n", "²\t1\n", "line 1: expected"),
        ("2\t1\n", "3\n", "line 1: announces 6 pairs, but 4 follow"),
        ("2\t1\n", "2\t2\n", "line 1: announces 8 pairs, but 4 follow"),
    ],
)
def test_wrong_lines_are_named(tmp_path, folder, old, new, message):
    with pytest.raises(InputError, match=rf"pairs\.txt, {message}"):
        read_pairs(write(tmp_path, PAIRS.replace(old, new, 1)), folder)


def test_unreadable_files_are_named(tmp_path, folder):
    with pytest.raises(InputError, match="--pairs nowhere.txt: cannot be read"):
        read_pairs("nowhere.txt", folder)
    for nothing in "", "2 1\n":
        with pytest.raises(InputError, match=r"pairs\.txt: has no pairs"):
            read_pairs(write(tmp_path, nothing), folder)
    (tmp_path / "pairs.txt").write_bytes(b"1\xff")
    with pytest.raises(InputError, match=r"pairs\.txt, line 1: expected"):
        read_pairs(str(tmp_path / "pairs.txt"), folder)


COUNTS = [3, 1, 4, 2]
PEOPLE = np.repeat(np.arange(4), COUNTS)


def kinds(pairs):
    """The pairs of images of the same and of different identities, each with the smaller number first."""
    pairs = [tuple(sorted(pair)) for pair in pairs]
    same = [pair for pair in pairs if PEOPLE[pair[0]] == PEOPLE[pair[1]]]
    return same, [pair for pair in pairs if pair not in same]


def test_all_pairs_of_the_same_identity_can_be_drawn():
    every_same, every_different = kinds(itertools.combinations(range(10), 2))
    assert (len(every_same), len(every_different)) == (10, 35)
    pairs, _ = draw_pairs(COUNTS, 10, seed=0)
    same, different = kinds(pairs)
    assert sorted(same) == every_same
    assert len(set(different)) == 10 and set(different) <= set(every_different)


def test_all_pairs_of_different_identities_can_be_drawn():
    pairs, _ = draw_pairs([10, 2, 1], 32, seed=0)
    people = [0] * 10 + [1] * 2 + [2]
    every_different = [pair for pair in itertools.combinations(range(13), 2) if people[pair[0]] != people[pair[1]]]
    assert sorted(pairs[1::2]) == every_different and len(set(pairs[::2])) == 32


def test_kinds_alternate():
    pairs, issame = draw_pairs(COUNTS, 6, seed=3)
    assert issame.dtype == bool and issame.tolist() == [True, False] * 6
    assert [PEOPLE[first] == PEOPLE[second] for first, second in pairs] == issame.tolist()


def test_large_identities_do_not_crowd_out_others():
    counts = [2, 100, 1, 4, 100]
    pairs, issame = draw_pairs(counts, 107, seed=0)
    people = np.repeat(np.arange(5), counts)[np.array(pairs)[issame][:, 0]]
    assert np.bincount(people).tolist() == [1, 50, 0, 6, 50]
    assert len(set(people[:40].tolist())) > 2 and sorted(people.tolist()) != people.tolist()


def test_a_function_of_the_seed():
    assert draw_pairs(COUNTS, 5, 1)[0] == draw_pairs(COUNTS, 5, 1)[0] != draw_pairs(COUNTS, 5, 2)[0]


@pytest.mark.parametrize("counts, num_pairs", [(COUNTS, 11), ([1, 1, 1], 1), ([5], 1)])
def test_too_many_pairs(counts, num_pairs):
    with pytest.raises(InputError, match=f"--random-pairs {num_pairs}: .* make .* pairs of the same"):
        check_enough_pairs(counts, num_pairs)
    with pytest.raises(InputError, match="--random-pairs"):
        draw_pairs(counts, num_pairs, seed=0)
    check_enough_pairs(COUNTS, 10)


def test_counts_of_millions():
    counts = np.full(360000, 47)
    check_enough_pairs(counts, 3000)
    pairs, _ = draw_pairs(counts, 3000, seed=0)
    assert np.array_equal(np.ptp(np.array(pairs) // 47, axis=1) == 0, np.arange(6000) % 2 == 0)
    assert np.max(pairs) < 47 * 360000
