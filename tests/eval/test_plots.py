import cv2
import numpy as np
import pytest

from partial_fc.eval import plots
from partial_fc.eval.output import Curve, Histogram, Result


@pytest.fixture
def drawn(monkeypatch):
    """Figures drawn, in place of their files."""
    figures = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: figures.append(figure))
    return figures


def result(model, data="lfw", inner=("",)):
    curve = Curve(np.array([1e-4, 1e-2, 1]), np.array([0.2, 0.5, 1]))
    histogram = Histogram(np.linspace(-1, 1, 5), np.array([0, 1, 2, 3]), np.array([3, 2, 1, 0]))
    return Result("p", data, model, {}, {name: curve for name in inner}, {name: histogram for name in inner})


def legend(panel):
    return panel.get_legend_handles_labels()[1]


def test_curves_of_several_models_in_one_picture(drawn):
    plots.draw_roc("roc.png", [result("a"), result("b", inner=("African", "Asian"))])
    (panel,) = drawn[0].axes
    assert legend(panel) == ["a", "b, African", "b, Asian"] and panel.get_xscale() == "log"
    for line in panel.lines:
        assert line.get_xdata().tolist() == [1e-4, 1e-2, 1] and line.get_ydata().tolist() == [0.2, 0.5, 1]


def test_data_sets_are_named_where_there_are_several(drawn):
    plots.draw_roc("roc.png", [result("a"), result("a", "cfp")])
    assert legend(drawn[0].axes[0]) == ["a, lfw", "a, cfp"]


def test_histograms_are_densities(drawn):
    plots.draw_histograms("h.png", [result("a"), result("b")])
    assert [panel.get_title() for panel in drawn[0].axes] == ["a", "b"]
    different, same = drawn[0].axes[0].patches
    assert different.get_data().values == pytest.approx(np.array([3, 2, 1, 0]) / 6 / 0.5)
    assert same.get_data().values == pytest.approx(np.array([0, 1, 2, 3]) / 6 / 0.5)
    assert legend(drawn[0].axes[0]) == ["different people, 6 pairs", "same person, 6 pairs"]


@pytest.mark.parametrize("draw", [plots.draw_roc, plots.draw_histograms])
def test_nothing_to_draw_is_an_empty_picture(draw, tmp_path):
    nothing = Curve(np.empty(0), np.empty(0))
    one_sided = Histogram(np.linspace(-1, 1, 5), np.zeros(4, int), np.ones(4, int))
    for number, results in enumerate([[Result("p", "lfw", "a", {}, {"": nothing}, {"": one_sided})], []]):
        draw(str(tmp_path / f"{number}.png"), results)
        assert cv2.imread(str(tmp_path / f"{number}.png")).shape[1] > 500
