"""What the training benchmarks draw and cut."""

import json
import os
import random

import numpy as np
import pytest

from benchmarks import lfw, omniglot, training
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


@pytest.mark.parametrize("benchmark, runs", [(lfw, 1), (omniglot, 6)])
def test_another_loss_and_other_keys_reach_the_training(benchmark, runs, tmp_path, monkeypatch):
    """As the last of its settings: of several for one key the last counts."""
    figures = dict.fromkeys(("accuracy", "accuracy_untrained", "accuracy_pixels", "train_seconds"), 0.5)
    summary, started = dict(figures, images_per_second=1.0, ranks=2, seed=0), []

    def run(*command):
        (root,) = (command[place + 1] for place, word in enumerate(command) if word == "--models-root")
        os.makedirs(root, exist_ok=True)
        ratio = float(command[command.index("--sample-ratio") + 1])
        with open(f"{root}/summary.json", "w") as file:
            json.dump(dict(summary, sample_ratio=ratio), file)
        started.append(list(command))

    monkeypatch.setattr(training, "_run", run)
    monkeypatch.setattr(benchmark, "extract", lambda *_: None)
    monkeypatch.setattr(benchmark, "pack", lambda *_: "records")
    for file in benchmark.FILES:
        (tmp_path / file).touch()
    arguments = "--loss arcface --precision bfloat16 --set wd=0.25 --set max_update=7 --json".split()
    assert benchmark.main(["--data", str(tmp_path), *arguments, str(tmp_path / "result.json")]) == 0
    assert len(started) == runs
    for command in started:
        for option, value in (("--loss", "arcface"), ("--precision", "bfloat16")):
            assert command[command.index(option) + 1] == value
        assert [word for word in command if word.startswith("--set=")][-3:-1] == ["--set=wd=0.25", "--set=max_update=7"]
    assert '"arcface"' in (tmp_path / "result.json").read_text()
