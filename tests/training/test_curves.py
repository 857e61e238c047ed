import csv
import os

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from partial_fc.training.curves import draw_curves


def draw(folder, losses, history=((0, {}),), rate=lambda update: 0.1, best=None):
    """The picture as an array (H, W, 3)."""
    with open(folder / "losses.csv", "w", newline="") as file:
        csv.writer(file).writerows([("num_update", "loss"), *enumerate(losses, start=1)])
    draw_curves(str(folder / "curves.png"), str(folder / "losses.csv"), list(history), rate, best)
    assert sorted(os.listdir(folder)) == ["curves.png", "losses.csv"]
    return cv2.imread(str(folder / "curves.png"))


def heights(picture):
    """For each column of pixels that the loss's line crosses, how far up, 0..1."""
    blue = (picture[..., 0] > 150) & (picture[..., 2] < 60)
    columns = np.flatnonzero(blue.any(axis=0))
    return np.array([1 - np.flatnonzero(blue[:, column]).mean() / len(picture) for column in columns])


@pytest.mark.parametrize("num_updates", [10, 401, 5000])
def test_line_falls_as_the_loss_does(num_updates, tmp_path):
    up = heights(draw(tmp_path, np.linspace(30, 1, num_updates))[:270])  # the panel of the loss
    assert len(up) > 500 and up[0] - up[-1] > 0.5
    assert np.abs(up - np.linspace(up[0], up[-1], len(up))).max() < 0.02


def test_single_update(tmp_path):
    assert draw(tmp_path, [3.5]).shape == (400, 800, 3)


def test_no_update_in_this_folder(tmp_path):
    history = [(0, {"lfw": 0.5}), (100, {"lfw": 0.9})]
    assert draw(tmp_path, [], history).shape == (680, 800, 3)


def test_accuracies_rates_and_the_best_model_are_drawn(tmp_path):
    losses = np.linspace(30, 1, 100)
    history = [(0, {"lfw": 0.5, "val": 0.6}), (100, {"lfw": 0.9, "val": 0.8})]
    plain = draw(tmp_path, losses, history)
    stepped = draw(tmp_path, losses, history, lambda update: 0.1 if update < 50 else 0.05)
    later = draw(tmp_path, losses, history, lambda update: 0.1 if update < 1000 else 0.05)
    best = draw(tmp_path, losses, history, best=60)
    flat = draw(tmp_path, losses, [(0, {"lfw": 0.5, "val": 0.6}), (100, {"lfw": 0.5, "val": 0.6})])
    assert plain.shape == (680, 800, 3)
    assert (plain == later).all() and (plain[280:540] != flat[280:540]).any()
    assert (plain[560:] != stepped[560:]).any()
    assert all((plain[top : top + 100] != best[top : top + 100]).any() for top in (100, 350, 560))


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError):
        (tmp_path / "losses.csv").write_text("num_update,loss\n1,2\n")
        draw_curves(str(tmp_path / "no" / "curves.png"), str(tmp_path / "losses.csv"), [(0, {})], lambda update: 0.1)


@pytest.mark.parametrize("num_updates", [3, 10000])
def test_learning_rate_is_that_of_every_update_shown(num_updates, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: figures.append(self) or open(path, "w").close())
    losses = "".join(f"{update},1\n" for update in range(1, num_updates + 1))
    (tmp_path / "losses.csv").write_text("num_update,loss\n" + losses)
    draw_curves(str(tmp_path / "x.png"), str(tmp_path / "losses.csv"), [(0, {})], lambda update: 1 / (1 + update), 2)
    panel = figures[0].axes[-1]
    updates, rates = panel.lines[0].get_data()
    assert updates[0] == 1 and updates[-1] == num_updates and np.allclose(rates, 1 / updates, rtol=1e-12)
    assert panel.get_ylabel() == "learning rate" and list(panel.lines[1].get_xdata()) == [2, 2]


@pytest.mark.filterwarnings("error:Glyph", "error:.*starts with")
def test_legend_names_all_sets_and_hides_no_curve(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: figures.append(self) or open(path, "w").close())
    sets = {"_held": 0.5, "顔": 0.6, "a-very-long-name-" * 4: 0.7}
    (tmp_path / "losses.csv").write_text("num_update,loss\n1,2\n2,1\n")
    draw_curves(str(tmp_path / "x.png"), str(tmp_path / "losses.csv"), [(0, sets), (2, sets)], lambda update: 0.1)
    (figure,) = figures
    figure.draw_without_rendering()
    panel, legend = figure.axes[1], figure.axes[1].get_legend()
    assert legend.get_texts()[0].get_text() == "_held" and len(legend.get_texts()) == 3
    box = legend.get_window_extent()
    assert box.x1 <= figure.bbox.x1 and not any(box.overlaps(each.get_window_extent()) for each in figure.axes)
    assert panel.get_window_extent().width > figure.bbox.width / 2
