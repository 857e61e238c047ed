"""What the training benchmarks draw and cut."""

import random

import numpy as np

from benchmarks.omniglot import cut_to_strokes, two_of_one_alphabet
from benchmarks.training import draw_pairs

IMAGES = {f"{alphabet}.{number}": range(1, 6) for alphabet in "abc" for number in range(4)}


def test_pairs_are_ten_folds_of_both_kinds():
    lines = [line.split("\t") for line in draw_pairs(IMAGES, two_of_one_alphabet)]
    assert lines[0] == ["10", "300"] and len(lines) == 6001
    for fold in range(10):
        same, different = (lines[1 + 600 * fold + start : 301 + 600 * fold + start] for start in (0, 300))
        assert all(len(line) == 3 and line[1] != line[2] and int(line[1]) in IMAGES[line[0]] for line in same)
        assert all(len(line) == 4 and line[0] != line[2] and line[0][0] == line[2][0] for line in different)
    assert {line[0] for line in lines[1:]} == set(IMAGES)
    assert draw_pairs(IMAGES, two_of_one_alphabet) == ["\t".join(line) for line in lines]


def test_two_of_one_alphabet():
    draw = random.Random(0)
    for _ in range(50):
        first, second = two_of_one_alphabet(draw, list(IMAGES))
        assert first != second and first[0] == second[0]


def test_cut_is_a_square_around_the_strokes():
    pixels = np.full((105, 105), 255, np.uint8)
    pixels[3:43, 90:105] = 0  # at the edge: the cut goes beyond the image
    cut = cut_to_strokes(pixels)
    assert cut.shape == (46, 46) and (cut < 128).sum() == 40 * 15
    rows, columns = np.nonzero(cut < 128)
    assert abs(rows.min() - (45 - rows.max())) <= 1 and abs(columns.min() - (45 - columns.max())) <= 1
