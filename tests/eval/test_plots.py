import cv2
import numpy as np
import pytest
from matplotlib.text import Text

from partial_fc.eval import plots
from partial_fc.eval.output import Result
from partial_fc.eval.roc import Curve, Histogram


@pytest.fixture
def drawn(monkeypatch):
    """Figures drawn, in place of their files."""
    figures = []
    monkeypatch.setattr(plots, "save_png", lambda figure, path: figures.append(figure))
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
    assert [panel.get_title("left") for panel in drawn[0].axes] == ["a", "b"]
    different, same = drawn[0].axes[0].patches
    assert different.get_data().values == pytest.approx(np.array([3, 2, 1, 0]) / 6 / 0.5)
    assert same.get_data().values == pytest.approx(np.array([0, 1, 2, 3]) / 6 / 0.5)
    assert legend(drawn[0].axes[0]) == ["different people, 6 pairs", "same person, 6 pairs"]


NAMES = ["модели/лицо", "وجوه", "顔/model", "$x^2$ and $5", "_hidden", "m\udce9thode\n", "long-name/" * 30, "हिन्दी 😀"]


def boxes(figure):
    """Where in the picture, in shares of it, its names, legends and panels are."""
    figure.draw_without_rendering()
    legends = [*figure.legends, *(panel.get_legend() for panel in figure.axes if panel.get_legend())]
    texts = [(text, panel.get_title("left")) for panel in figure.axes for text in panel.findobj(Text)]
    titles = [text for text, title in texts if text.get_text() == title != ""]
    inverse = figure.transFigure.inverted()
    return [
        [each.get_window_extent().transformed(inverse) for each in things] for things in (titles, legends, figure.axes)
    ]


@pytest.mark.filterwarnings("error:Glyph", "error:.*starts with", "error:constrained")
@pytest.mark.parametrize("draw", [plots.draw_roc, plots.draw_histograms])
def test_names_of_any_script_are_drawn_whole_and_hide_nothing(drawn, draw, tmp_path):
    draw("x.png", [result(name) for name in NAMES] + [result(f"model {number}") for number in range(8)])
    (figure,) = drawn
    titles, legends, panels = boxes(figure)
    assert len(titles) + sum(len(legend.get_texts()) for legend in figure.legends) == 16 and len(legends) in (1, 16)
    for box in titles + legends:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 1 and box.y1 <= 1
        assert not any(box.overlaps(panel) for panel in panels)
    assert all(panel.height > 0.25 / len(panels) for panel in panels)
    figure.savefig(str(tmp_path / "x.png"))


def test_more_curves_than_colors_differ(drawn):
    plots.draw_roc("x.png", [result(str(number)) for number in range(40)])
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn[0].axes[0].lines}) == 40


@pytest.mark.parametrize("draw", [plots.draw_roc, plots.draw_histograms])
def test_nothing_to_draw_is_an_empty_picture(draw, tmp_path):
    nothing = Curve(np.empty(0), np.empty(0))
    one_sided = Histogram(np.linspace(-1, 1, 5), np.zeros(4, int), np.ones(4, int))
    for number, results in enumerate([[Result("p", "lfw", "a", {}, {"": nothing}, {"": one_sided})], []]):
        draw(str(tmp_path / f"{number}.png"), results)
        assert cv2.imread(str(tmp_path / f"{number}.png")).shape[1] > 500
